"""``lab5 train``: train the network on CIFAR-10, on a CPU or a GPU."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from lab5.assignment import CHECKPOINT
from lab5.cli import command, console
from lab5.errors import UsageError


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="lab5 train", description="Train the ResNet18 on CIFAR-10 / 訓練 ResNet18"
    )
    found.add_argument("--epochs", type=int, help="by default the recipe's / 預設依訓練設定")
    found.add_argument("--weights", type=Path, help="train these on / 從這個權重檔繼續訓練")
    found.add_argument(
        "--last", type=int, help="with --weights, the epochs to repeat / 重複最後幾個 epoch"
    )
    found.add_argument(
        "--average",
        action="store_true",
        help="end as the mean of --weights and the result (SWA) / 與起始權重取平均",
    )
    found.add_argument("--seed", type=int, default=0)
    found.add_argument("--data", type=Path, help="a copy of CIFAR-10; otherwise the cache")
    found.add_argument("--out", type=Path, default=Path(CHECKPOINT))
    found.add_argument("--resume", action="store_true", help="continue <out>.resume / 從中斷處繼續")
    return found


@command
def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    if args.epochs is not None and args.epochs < 1:
        raise UsageError("--epochs must be at least 1.", zh="--epochs 至少要是 1。")
    if (args.weights is None) != (args.last is None) or (args.average and not args.weights):
        raise UsageError(
            "--weights and --last belong together: which weights, and how many epochs more; "
            "--average needs both.",
            zh="--weights 與 --last 要一起使用：從哪個權重檔、再訓練幾個 epoch；--average 兩者都需要。",
        )
    from lab5.study import data
    from lab5.study.training import Recipe, train

    recipe = Recipe() if args.epochs is None else Recipe(epochs=args.epochs)
    if args.last is not None:
        if not 1 <= args.last <= recipe.epochs:
            raise UsageError(
                f"--last must be 1 to {recipe.epochs}.", zh=f"--last 應為 1 到 {recipe.epochs}。"
            )
        recipe = dataclasses.replace(recipe, first=recipe.epochs - args.last)
    dataset = data.load(args.data)
    console.print(f"{recipe}\nseed {args.seed}", soft_wrap=True)
    log = train(
        dataset,
        recipe,
        seed=args.seed,
        out=args.out,
        weights=args.weights,
        average=args.average,
        resume=args.resume,
    )
    console.print(
        f"test top-1 {log['test_top1']}% on {log['test_images']:,} images → {args.out}",
        soft_wrap=True,
    )


if __name__ == "__main__":
    sys.exit(main())
