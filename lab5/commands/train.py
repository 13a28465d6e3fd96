"""``lab5 train``: train the assignment's network, on a CPU or a GPU."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from lab5.assignment import CHECKPOINT
from lab5.cli import Parser, add_data, at_least, command, console
from lab5.errors import UsageError
from lab5.text import Text


def parser() -> Parser:
    found = Parser("train", Text("Train the network", "訓練網路"))
    found.add("--epochs", Text("by default the recipe's", "預設依訓練設定"), type=int)
    found.add("--weights", Text("train these on", "從這個權重檔繼續訓練"), type=Path)
    last = Text("with --weights, the epochs to repeat", "搭配 --weights，重複最後幾個 epoch")
    found.add("--last", last, type=int)
    average = Text("end as the mean of --weights and the result (SWA)", "與起始權重取平均 (SWA)")
    found.add("--average", average, action="store_true")
    found.add("--seed", Text("of all draws; 0 by default", "亂數種子，預設 0"), type=int, default=0)
    add_data(found)
    out = Text(f"{CHECKPOINT} by default", f"輸出檔，預設 {CHECKPOINT}")
    found.add("--out", out, type=Path, default=Path(CHECKPOINT))
    found.add("--resume", Text("continue <out>.resume", "從中斷處繼續"), action="store_true")
    return found


@command
def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    at_least(args, epochs=1)
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
    console.print(str(recipe), soft_wrap=True)
    console.print(str(Text(f"seed {args.seed}", f"亂數種子 {args.seed}")))
    log = train(
        dataset,
        recipe,
        seed=args.seed,
        out=args.out,
        weights=args.weights,
        average=args.average,
        resume=args.resume,
    )
    top1, images = f"{log['test_top1']}%", f"{log['test_images']:,}"
    text = Text(
        f"test top-1 {top1} on {images} images → {args.out}",
        f"{images} 張測試影像的 top-1 {top1} → {args.out}",
    )
    console.print(str(text), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
