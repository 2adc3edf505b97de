from autocompress.recipe_text import recipe_in_short, recipe_in_words

RECIPE = {
    "start": None,
    "distillation": {"loss": "soft_target", "weight": 0.5, "temperature": 4.0},
    "sparsification": {
        "sparsity": [0.1, 0.2, 0.3],
        "granularity": "filter",
        "linear_sparsity": 0.0,
        "linear_granularity": "row",
        "scope": "global",
        "criterion": "taylor",
        "schedule": "agp",
    },
    "pruning": {"round_to": 1},
    "factorization": {"rank": 0.25, "convolution_rank": None},
    "fold": True,
    "training": {"epochs": 5, "recovery_epochs": 2, "learning_rate": 0.003, "stop_after": None},
    "extra": {},
}


def test_a_recipe_in_one_line():
    assert recipe_in_short(RECIPE) == (
        "filter 10/20/30 % · global taylor agp · rank 0.25 · soft_target 0.5 · fold"
    )
    assert recipe_in_short({"sparsification": None, "fold": False}) == "nothing"
    assert recipe_in_short({"fold": True, "precision": "int8"}) == "fold · int8"
    assert recipe_in_short({"fold": True, "precision": "fp32"}) == "fold"
    assert recipe_in_short({}) == ""


def test_a_recipe_in_one_line_says_what_is_unusual():
    sparse = {**RECIPE["sparsification"], "linear_sparsity": 0.5, "rewind": 0.25}
    late = {"energy": 0.9, "convolution_energy": 0.95}
    training = {**RECIPE["training"], "stop_after": 3}
    recipe = {"start": 12, "sparsification": sparse, "late_factorization": late}
    assert recipe_in_short({**recipe, "training": training}) == (
        "from trial 12 · filter 10/20/30 % · linear row 50 % · global taylor agp rewound to 0.25 "
        "· late energy 0.9 · late convolution energy 0.95 · left after epoch 3 of 5"
    )


def test_an_allocation_is_written_as_its_range():
    by_layer = {"sparsity": {"features.0": 0.2, "features.3": 0.75}, "granularity": "filter"}
    assert recipe_in_short({"sparsification": by_layer}) == "filter 20 to 75 % by layer"
    alike = {"sparsity": {"features.0": 0.2, "features.3": 0.2}, "granularity": "filter"}
    assert recipe_in_short({"sparsification": alike}) == "filter 20 % by layer"
    none = {"sparsity": {"features.0": 0.0}, "granularity": "filter"}
    assert recipe_in_short({"sparsification": none}) == "nothing"


def test_a_stage_of_the_users_is_written_as_its_settings_are():
    extra = {"weight_sharing": {"bits": 4, "share": 0.123456, "signed": True, "layers": []}}
    assert recipe_in_short({"extra": extra}) == "weight sharing bits 4 share 0.12 signed"
    assert recipe_in_words({"extra": extra}) == ["Weight sharing: bits 4, share 0.12, signed."]
    assert recipe_in_words({"extra": {"noise": {}}}) == ["Noise."]


def test_a_recipe_in_words_has_a_sentence_for_each_stage():
    assert recipe_in_words(RECIPE) == [
        "Distil: learn from the teacher by soft target (weight 0.5, temperature 4).",
        "Sparsify: 10/20/30 % (filter), chosen by taylor, one ranking over all layers, following "
        "the agp schedule.",
        "Prune: physically remove every unit that is zero.",
        "Factorize: singular value decomposition keeps rank 0.25.",
        "Train 5 epochs, then recover for 2 (learning rate 0.003).",
        "Fold batch norms into their neighbours.",
    ]
    assert recipe_in_words({}) == []


def test_a_recipe_in_words_says_what_is_unusual():
    recipe = {
        "start": 12,
        "late_factorization": {"energy": 0.9},
        "training": {"epochs": 5, "recovery_epochs": 0, "stop_after": 3},
        "precision": "fp16",
    }
    assert recipe_in_words(recipe) == [
        "Start from trial 12.",
        "Train 5 epochs; left after epoch 3 of 5.",
        "Factorize once more after that, untrained: keep energy 0.9.",
        "Deploy in fp16.",
    ]
