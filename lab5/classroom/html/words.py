"""What the pages say."""

from __future__ import annotations

from typing import Final

from lab5.grading import render
from lab5.text import Text

# On a student's page, from what needs a person most to what needs nobody.
SECTIONS: Final = {
    "waiting": Text("For you to mark", "待你評分"),
    "fail": Text("What is wrong", "未通過"),
    "advice": Text("Advice, no points lost", "建議，不扣分"),
    "blocked": Text("Not checked", "未檢查"),
    "manual": Text("To look at, without points", "請查看（不計分）"),
    "error": Text("Our own errors", "檢查程式的錯誤"),
    "pass": Text("What is right", "已通過"),
}
# Of a check, behind what was found.
PARTS: Final = {
    part: Text(word.en.capitalize(), word.zh)
    for part, word in render.PARTS.items()
    if part != "why"
}
EARNED: Final = {
    "full": Text("in full", "滿分"),
    "part": Text("in part", "部分"),
    "none": Text("nothing", "零分"),
    "waits": Text("for you to mark", "待評分"),
}
FILTERS: Final = {
    "all": Text("All", "全部"),
    "failed": Text("With faults", "有錯誤"),
    "waiting": Text("For you to mark", "待你評分"),
    "alike": Text("Look alike", "相似"),
    "ungraded": Text("Not graded", "未評分"),
}
LIKENESSES: Final = {
    "notebook": Text("The notebook is the same file.", "notebook 是同一個檔案。"),
    "report": Text("The report is the same file.", "報告是同一個檔案。"),
    "weights": Text(
        "The FP32 model has the same weights, which are not those handed out.",
        "FP32 模型的權重相同，而且不是老師提供的權重。",
    ),
    "scales": Text(
        "The INT8 model was calibrated to the same scales, though the calibration draws at random.",
        "INT8 模型的校準 scale 完全相同，但校準資料是隨機產生的。",
    ),
    "code": Text(
        "The notebook has the same statements, names and comments taken out (own statements "
        "in each, the common ones below).",
        "去掉名稱與註解後，notebook 有相同的敘述（下列為各份自己的敘述數與共同的敘述）。",
    ),
    "picture": Text("The report shows the same picture.", "報告中有相同的圖片。"),
}
KEYS: Final = {
    "index": (
        ("j k", Text("next, previous hand-in", "下一份、上一份")),
        ("Enter", Text("open it", "開啟")),
        ("/", Text("search", "搜尋")),
        ("f", Text("next filter", "下一個篩選")),
    ),
    "student": (
        ("n p", Text("next, previous hand-in, as the overview lists them", "下一份、上一份（依總覽的順序）")),
        ("j k", Text("next, previous check", "下一項、上一項檢查")),
        ("m", Text("to the points that you give", "跳到你給的分數")),
        ("u", Text("back to the overview", "回到總覽")),
    ),
    "both": (
        ("l", Text("the other language", "切換語言")),
        ("Esc", Text("leave a field", "離開輸入欄")),
        ("?", Text("these keys", "按鍵說明")),
    ),
}  # fmt: skip
