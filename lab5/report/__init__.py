"""The report: a pair of models and the student's own folder → one PDF.

FP32, INT8 ── measure ──> figures ── analysis ──> 3.2
submission/ ── student ──> screenshots 3.1, reflection 3.3
                    └── document ── typst, assets/ ──> <id>_report.pdf
"""
