"""What is refused: captions are cleaned, and those that teach a model nothing, or must not be kept, are told apart.

Owns: cleaning (cleaning.py), the settings (plan.py), the rules one by one (wording.py, boilerplate.py, personal.py,
names.py, language.py) and all of them in order (check.py); the tagger of parts of speech that needs no download
(tokens.py, lexicon.py, features.py, tagger.py, its word lists words/ and weights tagger.npz) and its training
(treebank.py, examples.py, train_tagger.py).

Public names: plan.FilterPlan, RULES · check.Filters, Verdict · cleaning.clean · tagger.load_tagger ·
names.proper_share.
"""
