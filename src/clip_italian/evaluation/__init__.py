"""How good an encoder is: the CLIP-Italian paper's two tasks, typed queries, and intervals for all of it.

metrics: ranks with pessimistic ties, MRR@k, recall@k, precision@k. statistics: bootstrap intervals. retrieval,
zero_shot: the paper's two tasks, and typed queries over an album. labels: class names, templates, and which class a
picture shows. choices, scenes: forced choices, on drawn scenes. kept: vectors in a file, so that nothing is encoded
twice. report: JSON, table, Markdown. card: model cards. gate: what an exported model may lose.

Public names: retrieval.evaluate_retrieval, retrieval.evaluate_queries, zero_shot.evaluate_zero_shot,
labels.read_labels, labels.read_classed, labels.read_templates, scenes.measure, kept.KeptVectors, card.measured.measure,
report.Result, report.to_json, report.table, report.markdown, statistics.Interval, gate.measure.
"""
