"""Pipelines of each kind, exported and compared on rows that the export has not seen.

A sample; `make pipelines` takes them all, on more rows and over a gateway.
"""

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, PowerTransformer, StandardScaler

from modelgate_exporter import export
from modelgate_exporter.written import Written

sys.path.insert(0, str(Path(__file__).parent / "pipelines"))
kinds = importlib.import_module("kinds")
measure = importlib.import_module("measure")

SAMPLE = [
    "ada_boost_three", "ordinal_infrequent", "bagging", "calibrated_isotonic", "catboost_categories", "chain_of_classifiers",
    "characters", "characters_of_words", "parts_of_texts", "texts_one_by_one",
    "cyclic", "dates", "dates_between", "frame_as_it_is", "gaussian_process", "hist_of_types", "iterative_imputer",
    "kbins_kmeans", "knn_regressor", "lambda_assign_chain", "lightgbm_categories", "numbers_as_text", "one_hot_then_scaled",
    "own_class", "pairs_of_words", "question_marks", "shares_of_categories", "texts_alone", "pandas_output", "pls", "qda", "quantile_normal", "row_wise_apply", "sampler", "select_numpy_columns",
    "sgd_modified_huber_three", "spline_linear", "spline_periodic", "stacking", "svc_three", "target_encoder_three",
    "target_power", "threshold_fixed", "truths_among_texts", "union_weights", "voting_hard", "words_and_missing_numbers", "words_beside_known_categories",
    "words_beside_numbers", "xgboost_categories",
    "svc_break_ties", "one_vs_one", "output_code", "radius_distance", "gaussian_process_three", "rbf_sampler", "nystroem_poly",
    "chi2_sampler", "count_sketch", "kernel_pca", "trees_as_features_beside", "kernel_ridge_laplacian", "radius_regressor",
    "gaussian_process_periodic", "elliptic", "local_outliers", "sgd_one_class", "topics", "hashed_words_beside",
    "missing_texts_imputed", "missing_texts_none", "missing_texts_of_a_class", "two_texts_in_one", "dictionaries",
    "dictionaries_themselves", "selected_by_type_nullable", "frames_between_steps", "dates_by_a_class", "merged_with_a_table",
    "nested_column_transformers", "several_labels_of_a_network", "several_labels_one_by_one", "chain_of_forests",
    "nullable_to_a_booster", "categories_as_codes", "select_dtypes_inside", "steps_within_a_class", "label_encoders_in_a_class",
    "clusters_as_features", "an_encoder_within_a_class", "pandas_idioms", "names_of_days", "days_as_numbers", "clusters_of_a_tree",
    "comprehensions", "rows_one_by_one", "rows_as_tuples", "functions_of_python", "several_values_of_a_row", "dummies_as_in_training",
    "categories_by_list", "patterns_of_python", "accents_taken_off", "texts_cleaned", "missing_texts_cleaned",
    "preprocessor_of_ones_own", "tokenizer_of_a_pattern", "analyzer_of_ones_own", "capitals_and_parts", "dates_from_texts",
    "numbers_from_texts", "hashed_by_default", "hashed_by_default_binary", "lightgbm_forest", "lightgbm_zero_as_missing", "xgboost_dart",
]  # fmt: skip
CASES = [(name, factory) for name, factory in kinds.cases() if name in SAMPLE]


@pytest.mark.parametrize("factory", [factory for _, factory in CASES], ids=[name for name, _ in CASES])
def test_answers_as_the_pipeline(factory):
    line = measure.measured(factory, 500, None, 0)
    assert line["state"] == "exported", line


def test_several_targets_have_names(tmp_path):
    pipeline, frame, target = dict(kinds.cases())["several_classifiers"]()
    pipeline.fit(frame, target)
    bundle = Written(export(pipeline, frame, tmp_path / "b", targets=["hi", "big"]))
    given = bundle.answers(bundle.cells(frame))
    assert list(given) == ["prediction", "probabilities_hi", "probabilities_big"]
    np.testing.assert_array_equal(given["prediction"], pipeline.predict(frame))
    np.testing.assert_allclose(given["probabilities_big"], pipeline.predict_proba(frame)[1], atol=1e-12)


def test_labels_behind_a_label_encoder(frame, target, tmp_path):
    encoder = LabelEncoder().fit(["high", "low", "mid"])
    pipeline = LogisticRegression(max_iter=500).fit(frame[["height", "weight"]], target)
    bundle = Written(export(pipeline, frame[["height", "weight"]], tmp_path / "b", classes=encoder))
    given = bundle.answers(bundle.cells(frame))
    expected = encoder.inverse_transform(pipeline.predict(frame[["height", "weight"]]))
    np.testing.assert_array_equal(given["prediction"], expected)
    with pytest.raises(ValueError, match="names 2 classes"):
        export(pipeline, frame[["height", "weight"]], tmp_path / "c", classes=["a", "b"])


def test_scores_where_there_are_no_probabilities(tmp_path):
    pipeline, frame, target = dict(kinds.cases())["linear_svc_three"]()
    pipeline.fit(frame, target)
    bundle = Written(export(pipeline, frame, tmp_path / "b"))
    given = bundle.answers(bundle.cells(frame))
    np.testing.assert_allclose(given["decision"], pipeline.decision_function(frame), atol=1e-9)


def test_the_report_tells_what_runs_where(frame, target, tmp_path, capsys):
    pipeline = StandardScaler()
    pipeline = make_pipeline(pipeline, LogisticRegression()).fit(frame[["height", "weight"]], target)
    report = export(pipeline, frame[["height", "weight"]], tmp_path / "b")
    told = capsys.readouterr().out
    assert told.strip() == report.report()
    for part in ("height (f64)", "prediction, probabilities", "tabular module", "the largest difference"):
        assert part in told
    export(pipeline, frame[["height", "weight"]], tmp_path / "c", quiet=True)
    assert capsys.readouterr().out == ""


def test_dates_are_milliseconds(tmp_path):
    pipeline, frame, target = dict(kinds.cases())["dates"]()
    pipeline.fit(frame, target)
    bundle = Written(export(pipeline, frame, tmp_path / "b"))
    cells = bundle.cells(frame)
    sent = pd.Timestamp(frame["alta"].iloc[0])
    assert cells[0]["alta"] == (sent - pd.Timestamp(0)) // pd.Timedelta(milliseconds=1)
    assert bundle.datatypes()["alta"] == "i64"


def test_probabilities_have_the_names_of_their_classes(frame, target, tmp_path):
    pipeline = LogisticRegression(max_iter=500).fit(frame[["height", "weight"]], target)
    bundle = Written(export(pipeline, frame[["height", "weight"]], tmp_path / "b", quiet=True))
    assert bundle.predict["outputs"][1]["names"] == [str(name) for name in pipeline.classes_]
    encoder = LabelEncoder().fit(["high", "low", "mid"])
    bundle = Written(export(pipeline, frame[["height", "weight"]], tmp_path / "c", classes=encoder, quiet=True))
    assert bundle.predict["outputs"][1]["names"] == [encoder.classes_[place] for place in pipeline.classes_]


def test_null_is_taken_where_the_pipeline_takes_it(frame, target, tmp_path, capsys):
    """The sample has no missing value; the pipeline has a step for them in one column alone."""
    data = frame[["height", "weight"]].dropna().reset_index(drop=True)
    fill = make_pipeline(SimpleImputer(strategy="median"), PowerTransformer())
    steps = ColumnTransformer([("fill", fill, ["height"])], remainder="passthrough")
    pipeline = make_pipeline(steps, LogisticRegression(max_iter=500)).fit(data, target[: len(data)])
    bundle = Written(export(pipeline, data, tmp_path / "b"))
    assert "height (f64?), weight (f64) (? may be null)" in capsys.readouterr().out
    rows = data.head(40).assign(height=np.nan)
    given = bundle.answers(bundle.cells(rows))
    np.testing.assert_allclose(given["probabilities"], pipeline.predict_proba(rows), atol=1e-9)
