"""python -m thimble_train COMMAND ... (see README.md)"""

import argparse
from pathlib import Path

from thimble_train.config import SIZES


def main():
    parser = argparse.ArgumentParser(prog="thimble_train")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name, what, *arguments):
        sub = commands.add_parser(name, help=what, description=what)
        for argument in arguments:
            sub.add_argument(argument, choices=SIZES if argument == "SIZE" else None)
        return sub

    command("prepare", "cleaned texts of DATA into WORK", "DATA", "WORK")
    teach = command("teach", "conversations that a teacher writes, into the lines OUT", "TEACHER", "DATA", "OUT")
    teach.add_argument("--tokens", type=int, default=1_000_000)
    teach.add_argument("--seed", type=int, default=1)
    command("encode", "a tokenizer, and the texts of WORK as its tokens", "SIZE", "WORK")
    for stage in ("pretrain", "finetune"):
        sub = command(stage, "one stage of training, from its checkpoint in WORK if there is one", "SIZE", "WORK")
        sub.add_argument("--minutes", type=float, default=float("inf"))
        if stage == "pretrain":
            sub.add_argument("--from", dest="origin", type=Path, help="a packed model.safetensors whose weights to begin with")
    command("export", "the packed model of WORK into FOLDER", "WORK", "FOLDER")
    command("evaluate", "figures of FOLDER's model, and the logits that the engine is tested by", "WORK", "FOLDER", "GOLDEN")
    talk = command("transcripts", "thirty conversations with FOLDER's model by the program THIMBLE", "THIMBLE", "FOLDER", "OUT")
    talk.add_argument("settings", nargs=argparse.REMAINDER, help="as for `thimble chat`")
    command("sweep", "those conversations under several samplings", "THIMBLE", "FOLDER")
    command("recall", "how often hand-written questions get their answers", "THIMBLE", "FOLDER")
    command("curves", "the picture of WORK/curves.csv", "WORK", "PICTURE")
    command("all", "from prepare to export, in turn", "SIZE", "DATA", "WORK", "FOLDER")
    arguments = parser.parse_args()
    if arguments.command == "all":
        for step in ("prepare", "encode", "pretrain", "finetune", "export"):
            run(step, arguments)
    else:
        run(arguments.command, arguments)


def run(command, a):
    """One command; modules are imported where they are needed, because some are heavy."""
    if command == "prepare":
        from thimble_train.prepare import prepare
        prepare(a.DATA, a.WORK)
    elif command == "teach":
        from thimble_train.teacher import teach
        teach(a.TEACHER, a.DATA, a.OUT, a.tokens, a.seed)
    elif command == "encode":
        from thimble_train.batches import encode
        encode(SIZES[a.SIZE], Path(a.WORK))
    elif command in ("pretrain", "finetune"):
        from thimble_train.train import run as train
        train(command, SIZES[a.SIZE], a.WORK, getattr(a, "minutes", float("inf")), getattr(a, "origin", None))
    elif command == "export":
        from thimble_train.export import export
        export(Path(a.WORK) / "finetune.pt", Path(a.WORK) / "tokenizer.json", a.FOLDER)
    elif command == "evaluate":
        from thimble_train.evaluate import evaluate
        evaluate(a.WORK, a.FOLDER, a.GOLDEN)
    elif command == "transcripts":
        from thimble_train.transcripts import write_transcripts
        write_transcripts(a.THIMBLE, a.FOLDER, a.OUT, a.settings)
    elif command == "sweep":
        from thimble_train.transcripts import sweep
        sweep(a.THIMBLE, a.FOLDER)
    elif command == "recall":
        from thimble_train.recall import recall
        recall(a.THIMBLE, a.FOLDER)
    elif command == "curves":
        from thimble_train.evaluate import draw_curves
        draw_curves(Path(a.WORK) / "curves.csv", a.PICTURE)


if __name__ == "__main__":
    main()
