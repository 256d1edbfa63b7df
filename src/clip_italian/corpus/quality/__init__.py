"""Translation quality: what people say of it, how far they agree, and what can be measured without them.

Owns: the settings (plan.py), Gwet's coefficient (agreement.py), a sample of translations (sample.py), the sheet to rate
it on (sheet.py, page/), reading filled sheets back (ratings.py), automatic signals (signals.py, wording.py), similarity
with the picture and round trips (measures.py, chrf.py).

Public names: QualityPlan · Agreement, gwet · Translation, Sample, draw, translations · write_sheet ·
Ratings, Quality, read_sheets, summarize · Signals, signals, alarms · similarities, round_trip.
"""
