"""Renders the templates of engine/tests/golden/chat_templates.json by transformers.

    python tools/chat_templates.py

Reads the file's "templates" and "conversations" and writes its "cases" anew: the text of every template
on every conversation with and without `add_generation_prompt`, or null where the template refuses the
conversation. To add a template, add it to the file and run this. Not needed by the tests.

The templates smollm2, llama3, zephyr, gemma, mistral and metis are published ones; `python` and `raw_tags`
exercise what else templates use of Python and Jinja.
"""

import json
from pathlib import Path

from jinja2.exceptions import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

PATH = Path(__file__).parent.parent / "engine/tests/golden/chat_templates.json"


def render(template, messages, add_generation_prompt):
    try:
        texts, _ = render_jinja_template(
            [messages],
            chat_template=template,
            add_generation_prompt=add_generation_prompt,
            bos_token="<s>",
            eos_token="</s>",
        )
    except TemplateError:
        return None
    return texts[0]


def main():
    golden = json.loads(PATH.read_text(encoding="utf-8"))
    golden["cases"] = [
        {
            "template": template,
            "conversation": conversation,
            "add_generation_prompt": prompt,
            "text": render(source, messages, prompt),
        }
        for template, source in golden["templates"].items()
        for conversation, messages in golden["conversations"].items()
        for prompt in (True, False)
    ]
    PATH.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
