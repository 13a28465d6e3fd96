"""The Chinese comments of the filled notebook: ``{definition: {start of a line: comment}}``.

The assignment asks for the student's own Chinese comments; the package's are English. Each start
must be found in its definition, so a comment cannot outlive the code that it explains.
"""

from __future__ import annotations

from typing import Final

from lab5.assignment import NUM_CLASSES

COMMENTS: Final[dict[str, dict[str, str]]] = {
    # 1.1
    "BasicBlock": {
        "class BasicBlock": "殘差區塊：兩個 3x3 卷積加上捷徑 (shortcut)",
        "self.left": "主要路徑：卷積 -> BN -> ReLU -> 卷積 -> BN",
        "self.shortcut = nn.Sequential()": "大小與通道數不變時，捷徑就是原來的輸入",
        "if stride != 1": "大小或通道數改變時，用 1x1 卷積讓兩條路徑的形狀一致",
        "return F.relu": "兩條路徑相加之後再做 ReLU",
    },
    "ResNet18": {
        "class ResNet18": "完整網路：conv1 + 4 個 layer + fc",
        "self.conv1": "圖片只有 32x32，第一層用 3x3、stride 1，不縮小",
        "self.layer1": "每個 layer 有兩個殘差區塊；layer2 到 layer4 各把長寬減半",
        "self.fc": f"512 個特徵 -> {NUM_CLASSES} 個類別",
        "for s in": "只有第一個區塊用指定的 stride，其餘為 1",
        "out = F.avg_pool2d": "4x4 的特徵圖平均成一個點，再攤平成 (N, 512)",
    },
    # 1.2
    "load_weights": {
        "state =": "老師的權重檔裡還有 thop 計算 FLOPs 時留下的紀錄，不是權重，先濾掉",
        "model.load_state_dict": "嚴格載入：名稱或形狀不符就報錯",
        "model.eval()": "推論模式：BatchNorm 改用訓練時的統計值",
    },
    # 1.3
    "write_onnx": {
        "dynamic_axes": "batch 軸可變",
        "dynamo=False": "torch 2.9 起預設的匯出器一律寫成 opset 18",
        "assert onnx": "讀回來確認",
    },
    # 1.4
    "quantize_to_int8": {
        "quant_format": "要用列舉值；寫成字串會變成 QDQ 格式",
        "reduce_range": "權重只用 7 位元：沒有 VNNI 的 CPU 才不會溢位",
        "activation_type": "uint8 在 x86 上才快",
    },
    "safe_scales": {
        "def safe_scales": "每個通道最細的 scale：相鄰兩個同號權重相加不超過 128，任何 x86 CPU 都不會溢位",
        "rows = np.moveaxis": "CPU 相乘累加的順序：輸入通道在最內層，相鄰的兩個乘積先以 16 位元相加",
        "return np": "幾乎沒有權重的通道不需要太細，偏差值才放得進 32 位元",
    },
    "settings": {
        "def settings": "卷積的 stride、padding 等設定",
    },
    "pairs": {
        "def pairs": "找出 FP32 與 INT8 檔中對應的層",
    },
    "patches": {
        "def patches": "從一層的輸入隨機取出若干位置，就是權重實際相乘的對象",
        "views = np": "卷積在每個位置看到的小方塊",
    },
    "layer_inputs": {
        "def layer_inputs": "用 FP32 模型跑校準影像，記下每一層看到的輸入",
        "graph.graph.output": "把中間的張量也設為輸出",
    },
    "best_scales": {
        "def best_scales": "在安全的 scale 中，選讓每個通道的輸出改變最少的",
        "varying = ": "固定的偏移由偏差值扣回，這裡只看變動的部分",
    },
    "float_output": {
        "def float_output": "最後一層的 logits 直接輸出實數，不再壓成 8 位元",
    },
    "refine_int8": {
        "def refine_int8": "量化之後：重新選權重的 scale，並修正偏差值",
        "step = ": "權重四捨五入的誤差 x 輸入的平均 = 每個通道固定的偏移，由偏差值扣回",
    },
    "dead_leaves": {
        "def dead_leaves": "沒有真實圖片時的校準影像：隨機互相遮蓋的圓與多邊形，統計特性接近自然影像",
        "radius = ": "大小依自然影像的冪次分布，小的多、大的少",
        "pictures.append": "畫在四倍大的畫布上，再平均縮小成 32x32",
    },
    "match_batchnorm": {
        "def match_batchnorm": "微調像素，讓每個 BatchNorm 看到的平均與標準差接近訓練時的統計",
        "model = copy": "在複本上計算，不影響原來的模型",
        "def compare": "在每個 BatchNorm 之前，比較輸入的統計與訓練時記錄的統計",
        "x.data = ": "像素不能比全黑更暗、比全白更亮",
    },
    "synthetic_images": {
        "def synthetic_images": "由權重本身產生校準影像，固定亂數種子，每次結果相同",
    },
    "BatchReader": {
        "class BatchReader": "把影像分批交給 onnxruntime 校準",
    },
    # 1.5
    "build_session": {
        "return ort": "依指定的 providers 建立推論 session",
    },
    # 2.1
    "preprocess": {
        "img =": "轉成 RGB、縮放成 32x32",
        "arr = np": "0 到 1",
        "arr = (arr": "減去平均、除以標準差，與訓練時相同",
        "arr = arr.transpose": "HWC -> CHW",
        "arr = arr[None": "增加 batch 維度：(1, 3, 32, 32)",
    },
    # 2.2
    "timed_run": {
        "def timed_run": "一次的時間不準：先暖機，再重複多次取中位數",
        "logits =": "第一次執行要配置記憶體，不計時",
    },
    # 2.3
    # 2.4
    "launch_public": {
        "demo.launch": "share=True 才有公開網址",
    },
}
