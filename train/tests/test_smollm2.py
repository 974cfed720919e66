"""The batched decoder says what transformers' Llama says, and draws from the nucleus alone."""

import pytest
import torch

from thimble_train import smollm2


@pytest.fixture(scope="module")
def llama():
    transformers = pytest.importorskip("transformers", reason="only teaching needs it: pip install '.[teacher]'")
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=300, hidden_size=96, intermediate_size=160, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2, rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, initializer_range=0.2)
    return transformers.LlamaForCausalLM(config).eval()


def greedy(logits):
    return logits.argmax(-1)


def test_a_batch_of_prompts_is_answered_like_each_alone_by_transformers(llama):
    prompts = [[7, 8, 9], [7, 8, 1, 2, 3, 4, 5], [7, 8, 200, 100], [7, 8, 9, 9, 9, 9, 9, 9, 9, 9, 11]]
    expected = [llama.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False, eos_token_id=None,
                               pad_token_id=0)[0, len(prompt):].tolist() for prompt in prompts]
    model = smollm2.SmolLM2(llama, dtype=torch.float32)  # in bfloat16 the greedy tokens may differ
    model.rows = 3  # so that the prompts are read in two goes
    assert model.generate(prompts, -1, 12, greedy) == expected
    # Rows that end leave the batch, and the others do not notice.
    stop = expected[0][4]
    cut = [answer[:answer.index(stop) + 1] if stop in answer else answer for answer in expected]
    assert len(cut[0]) <= 5
    assert model.generate(prompts, stop, 12, greedy) == cut


def test_the_nucleus_holds_the_likeliest_ids_and_no_more():
    logits = torch.full((2, 1000), -20.0)
    logits[0, [3, 400, 999]] = torch.tensor([2.0, 2.0, 0.0])  # 0.47, 0.47, 0.06
    logits[1, 512] = 1.0
    draw = smollm2.nucleus(1.0, 0.9, torch.Generator().manual_seed(3))
    drawn = torch.stack([draw(logits) for _ in range(60)])
    assert set(drawn[:, 0].tolist()) == {3, 400}
    assert set(drawn[:, 1].tolist()) == {512}
