"""The corpus: from public sources to Italian training shards that anyone can rebuild, and anyone can leave.

Owns: records (record.py), sources (sources/), what is refused (filters/), translation (translation/), its quality
(quality/), fetching pictures (fetching/), duplicates and evaluation pictures (duplicates/), the ledger (ledger.py), the
plan of a corpus and its stages (plan.py, build.py), shards (shards.py), leaving (leaving.py), the data card (card/).
"""
