"""Training: from a recipe, captions and photos to a model directory.

Owns: settings (recipe.py: Recipe, read_recipe), the model they name (setup.py: build), what can be used of the data
(intake.py), which texts stand for a picture (texts.py), what the towers' fixed parts give, computed once and kept
(feeds.py), losses.py, optimizers.py, schedules.py, masked_language.py, how one stage learns (stage.py), how good it is
(validation.py), the order of it all (trainer.py: train, Reporter, Outcome), where it stands (state.py), what lies in
its folder (folder.py), its log and curve (logs.py, curve.py), and what it would take (plan.py: plan, Plan).
"""
