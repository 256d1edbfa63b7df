"""How good an encoder is: the CLIP-Italian paper's two tasks, typed queries, and intervals for all of it.

metrics: ranks with pessimistic ties, MRR@k, recall@k, precision@k. statistics: bootstrap intervals. retrieval,
zero_shot: the paper's two tasks, and typed queries over an album. labels: class names and templates. report: JSON,
table, Markdown. gate: what an exported model may lose.

Public names: retrieval.evaluate_retrieval, retrieval.evaluate_queries, zero_shot.evaluate_zero_shot,
labels.read_labels, labels.read_templates, report.Result, report.to_json, report.table, report.markdown,
statistics.Interval, gate.measure.
"""
