"""What the assignment does not ask: a finer INT8 file, and how good network and INT8 are.

data (CIFAR-10) ── training ──> best_model.pth
calibration: --calibration synthetic (synthetic images, refine), cifar10, a folder
evaluate, sqnr, saturation, bench: accuracy, noise by layer, overflow, speed
"""
