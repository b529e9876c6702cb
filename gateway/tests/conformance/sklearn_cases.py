"""Estimators and transformers of scikit-learn over a matrix of floats."""

import numpy as np
from sklearn import (
    calibration, cluster, cross_decomposition, decomposition, discriminant_analysis, ensemble, feature_selection,
    gaussian_process, impute, linear_model, mixture, multiclass, multioutput, naive_bayes, neighbors, neural_network,
    preprocessing, random_projection, svm, tree,
)
from skl2onnx import to_onnx

from case import case

ROWS, FEATURES = 16, 5
RNG = np.random.default_rng(3)
X = RNG.normal(size=(240, FEATURES)).astype(np.float32)
MARGIN = X @ RNG.normal(size=(FEATURES, 3)) + np.sin(3 * X[:, :1])
Y2, Y3 = (MARGIN[:, 0] > MARGIN[:, 1]).astype(np.int64), MARGIN.argmax(1)
NAMES = np.array(["elm", "fir — Tanne", "oak"])
YR = (MARGIN[:, 0] + 0.1 * RNG.normal(size=240)).astype(np.float32)
YM = np.column_stack([MARGIN[:, 0], MARGIN[:, 1] - 1]).astype(np.float32)
XN = X.copy()
XN[RNG.random(X.shape) < 0.15] = np.nan
XP = np.abs(X)
XI = RNG.integers(0, 4, size=(240, 3))


def classifier(name, model, y=Y3, x=X, tolerance=1e-5, options=None, scores=True, note="", **kinds):
    model.fit(x, y)
    rows = x[-ROWS:]
    options = {"zipmap": False} if options is None else options

    def library():
        says = getattr(model, "predict_proba", None) if scores else None
        return [model.predict(rows), says(rows) if says else None]

    convert = lambda: to_onnx(model, x[:1], options={id(model): options} if options else None, **kinds)
    case(name, "classifier", convert, {"X": rows}, library, tolerance, note)


def regressor(name, model, y=YR, x=X, tolerance=1e-5, note="", **kinds):
    model.fit(x, y)
    rows = x[-ROWS:]
    library = lambda: [model.predict(rows).reshape(ROWS, -1)]
    case(name, "regressor", lambda: to_onnx(model, x[:1], **kinds), {"X": rows}, library, tolerance, note)


def transformer(name, model, x=X, y=None, tolerance=1e-5, note="", **kinds):
    model.fit(x, y)
    rows = x[-ROWS:]

    def library():
        out = model.transform(rows)
        return [out.toarray() if hasattr(out, "toarray") else out]

    case(name, "transformer", lambda: to_onnx(model, x[:1], **kinds), {"X": rows}, library, tolerance, note)


def classifiers():
    lm, en = linear_model, ensemble
    classifier("logistic_binary", lm.LogisticRegression(), Y2)
    classifier("logistic_multi", lm.LogisticRegression())
    classifier("logistic_strings", lm.LogisticRegression(), NAMES[Y3])
    classifier("logistic_zipmap", lm.LogisticRegression(), options={"zipmap": True})
    classifier("logistic_columns", lm.LogisticRegression(), options={"zipmap": "columns"})
    classifier("logistic_raw_scores", lm.LogisticRegression(), options={"zipmap": False, "raw_scores": True}, scores=False)
    classifier("logistic_cv", lm.LogisticRegressionCV(Cs=3, cv=3))
    classifier("sgd_log", lm.SGDClassifier(loss="log_loss", random_state=0))
    classifier("sgd_hinge", lm.SGDClassifier(random_state=0), scores=False)
    classifier("ridge_classifier", lm.RidgeClassifier(), scores=False)
    classifier("perceptron", lm.Perceptron(), scores=False)
    classifier("linear_svc", svm.LinearSVC(), options={}, scores=False)
    classifier("linear_svc_binary", svm.LinearSVC(), Y2, options={}, scores=False)
    for kernel in ("linear", "rbf", "poly", "sigmoid"):
        classifier(f"svc_{kernel}", svm.SVC(kernel=kernel), scores=False)
    classifier("svc_binary", svm.SVC(), Y2, scores=False)
    classifier("svc_ovo", svm.SVC(decision_function_shape="ovo"), scores=False)
    classifier("svc_strings", svm.SVC(), NAMES[Y3], scores=False)
    classifier("svc_probability", svm.SVC(probability=True, random_state=0), tolerance=1e-4)
    classifier("svc_probability_binary", svm.SVC(probability=True, random_state=0), Y2, tolerance=1e-4)
    classifier("nu_svc", svm.NuSVC(nu=0.2), scores=False)
    classifier("knn", neighbors.KNeighborsClassifier())
    classifier("knn_distance", neighbors.KNeighborsClassifier(weights="distance"), tolerance=1e-4)
    classifier("gaussian_nb", naive_bayes.GaussianNB())
    classifier("bernoulli_nb", naive_bayes.BernoulliNB())
    classifier("multinomial_nb", naive_bayes.MultinomialNB(), x=XP)
    classifier("complement_nb", naive_bayes.ComplementNB(), x=XP)
    classifier("categorical_nb", naive_bayes.CategoricalNB(), x=XI, y=(XI.sum(1) > 4).astype(np.int64))
    classifier("decision_tree", tree.DecisionTreeClassifier(max_depth=5, random_state=0))
    classifier("extra_tree", tree.ExtraTreeClassifier(max_depth=5, random_state=0))
    small = {"n_estimators": 6, "max_depth": 4, "random_state": 0}
    classifier("random_forest_binary", en.RandomForestClassifier(**small), Y2)
    classifier("random_forest_multi", en.RandomForestClassifier(**small))
    classifier("random_forest_strings", en.RandomForestClassifier(**small), NAMES[Y3])
    classifier("extra_trees", en.ExtraTreesClassifier(**small))
    classifier("gradient_boosting_binary", en.GradientBoostingClassifier(n_estimators=6, random_state=0), Y2)
    classifier("gradient_boosting_multi", en.GradientBoostingClassifier(n_estimators=6, random_state=0))
    classifier("hist_boosting_binary", en.HistGradientBoostingClassifier(max_iter=6, random_state=0), Y2, XN)
    classifier("hist_boosting_multi", en.HistGradientBoostingClassifier(max_iter=6, random_state=0), Y3, XN)
    classifier("ada_boost", en.AdaBoostClassifier(n_estimators=5, random_state=0))
    bag = lambda: tree.DecisionTreeClassifier(max_depth=3, random_state=0)
    classifier("bagging", en.BaggingClassifier(bag(), n_estimators=3, random_state=0))
    pair = lambda: [("tree", bag()), ("linear", lm.LogisticRegression())]
    classifier("voting_soft", en.VotingClassifier(pair(), voting="soft", flatten_transform=False))
    classifier("voting_hard", en.VotingClassifier(pair(), flatten_transform=False), scores=False)
    classifier("stacking", en.StackingClassifier(pair()))
    classifier("calibrated", calibration.CalibratedClassifierCV(lm.LogisticRegression(), cv=2))
    classifier("calibrated_isotonic", calibration.CalibratedClassifierCV(bag(), cv=2, method="isotonic"), tolerance=1e-4)
    classifier("one_vs_rest", multiclass.OneVsRestClassifier(lm.LogisticRegression()))
    classifier("one_vs_one", multiclass.OneVsOneClassifier(lm.LogisticRegression()), scores=False)
    multi = lambda: multioutput.MultiOutputClassifier(lm.LogisticRegression())
    classifier("multi_output_classifier", multi(), np.column_stack([Y2, Y3]), scores=False)
    classifier("mlp_binary", neural_network.MLPClassifier((8,), max_iter=40, random_state=0), Y2)
    classifier("mlp_multi", neural_network.MLPClassifier((8, 6), activation="tanh", max_iter=40, random_state=0))
    classifier("lda", discriminant_analysis.LinearDiscriminantAnalysis())
    classifier("qda", discriminant_analysis.QuadraticDiscriminantAnalysis())
    gp = gaussian_process.GaussianProcessClassifier(random_state=0)
    classifier("gaussian_process_classifier", gp, Y2, tolerance=1e-4)
    classifier("logistic_double", lm.LogisticRegression(), x=X.astype(np.float64))
    classifier("random_forest_double", en.RandomForestClassifier(**small), x=X.astype(np.float64))
    classifier("random_forest_ints", en.RandomForestClassifier(**small), x=XI, y=(XI.sum(1) > 4).astype(np.int64))


def regressors():
    lm, en = linear_model, ensemble
    for name in ("LinearRegression", "Ridge", "Lasso", "ElasticNet", "BayesianRidge", "HuberRegressor", "ARDRegression", "Lars"):
        regressor(name.lower(), getattr(lm, name)())
    regressor("linear_regression_targets", lm.LinearRegression(), YM)
    regressor("linear_regression_double", lm.LinearRegression(), x=X.astype(np.float64))
    regressor("sgd_regressor", lm.SGDRegressor(random_state=0))
    regressor("poisson", lm.PoissonRegressor(), np.abs(YR))
    regressor("tweedie", lm.TweedieRegressor(power=1.5), np.abs(YR) + 0.1)
    regressor("gamma", lm.GammaRegressor(), np.abs(YR) + 0.1)
    regressor("quantile", lm.QuantileRegressor(alpha=0.01))
    regressor("ransac", lm.RANSACRegressor(random_state=0))
    regressor("theil_sen", lm.TheilSenRegressor(random_state=0, max_subpopulation=100))
    for kernel in ("linear", "rbf", "poly"):
        regressor(f"svr_{kernel}", svm.SVR(kernel=kernel), tolerance=1e-4)
    regressor("nu_svr", svm.NuSVR(), tolerance=1e-4)
    regressor("linear_svr", svm.LinearSVR(random_state=0))
    regressor("knn_regressor", neighbors.KNeighborsRegressor())
    regressor("decision_tree_regressor", tree.DecisionTreeRegressor(max_depth=5, random_state=0))
    small = {"n_estimators": 6, "max_depth": 4, "random_state": 0}
    regressor("random_forest_regressor", en.RandomForestRegressor(**small))
    regressor("random_forest_regressor_targets", en.RandomForestRegressor(**small), YM)
    regressor("random_forest_regressor_double", en.RandomForestRegressor(**small), x=X.astype(np.float64))
    regressor("extra_trees_regressor", en.ExtraTreesRegressor(**small))
    regressor("gradient_boosting_regressor", en.GradientBoostingRegressor(n_estimators=6, random_state=0))
    regressor("hist_boosting_regressor", en.HistGradientBoostingRegressor(max_iter=6, random_state=0), x=XN)
    bag = lambda: tree.DecisionTreeRegressor(max_depth=3, random_state=0)
    regressor("ada_boost_regressor", en.AdaBoostRegressor(bag(), n_estimators=4, random_state=0))
    regressor("bagging_regressor", en.BaggingRegressor(bag(), n_estimators=3, random_state=0))
    pair = lambda: [("tree", bag()), ("linear", lm.LinearRegression())]
    regressor("voting_regressor", en.VotingRegressor(pair()))
    regressor("stacking_regressor", en.StackingRegressor(pair()))
    regressor("mlp_regressor", neural_network.MLPRegressor(hidden_layer_sizes=(8,), max_iter=40, random_state=0))
    kernel = gaussian_process.kernels.RBF() + gaussian_process.kernels.WhiteKernel(0.1)
    gp = gaussian_process.GaussianProcessRegressor(kernel, random_state=0)
    regressor("gaussian_process_regressor", gp, x=X.astype(np.float64), tolerance=1e-4)
    regressor("pls", cross_decomposition.PLSRegression(2), YM)
    regressor("multi_output_regressor", multioutput.MultiOutputRegressor(lm.Ridge()), YM)


def transformers():
    pre = preprocessing
    transformer("standard_scaler", pre.StandardScaler())
    transformer("min_max_scaler", pre.MinMaxScaler(clip=True))
    transformer("max_abs_scaler", pre.MaxAbsScaler())
    transformer("robust_scaler", pre.RobustScaler())
    for norm in ("l1", "l2", "max"):
        transformer(f"normalizer_{norm}", pre.Normalizer(norm), x=XP)
    transformer("binarizer", pre.Binarizer(threshold=0.2))
    transformer("one_hot_ints", pre.OneHotEncoder(handle_unknown="ignore"), x=XI)
    transformer("ordinal_ints", pre.OrdinalEncoder(), x=XI)
    transformer("simple_imputer_mean", impute.SimpleImputer(), x=XN)
    transformer("simple_imputer_median", impute.SimpleImputer(strategy="median"), x=XN)
    transformer("knn_imputer", impute.KNNImputer(), x=XN, tolerance=1e-4)
    transformer("polynomial_features", pre.PolynomialFeatures(3))
    for encode in ("ordinal", "onehot-dense"):
        bins = pre.KBinsDiscretizer(4, encode=encode, quantile_method="averaged_inverted_cdf")
        transformer(f"k_bins_{encode.split('-')[0]}", bins)
    transformer("power_yeo_johnson", pre.PowerTransformer(), tolerance=1e-4)
    transformer("power_box_cox", pre.PowerTransformer("box-cox"), x=XP + 0.1, tolerance=1e-4)
    transformer("quantile_transformer", pre.QuantileTransformer(n_quantiles=10), tolerance=1e-4)
    transformer("pca", decomposition.PCA(2), tolerance=1e-4)
    transformer("incremental_pca", decomposition.IncrementalPCA(2), tolerance=1e-4)
    transformer("kernel_pca", decomposition.KernelPCA(2), tolerance=1e-4)
    transformer("truncated_svd", decomposition.TruncatedSVD(2, random_state=0), tolerance=1e-4)
    transformer("select_k_best", feature_selection.SelectKBest(k=2), y=Y3)
    transformer("variance_threshold", feature_selection.VarianceThreshold())
    transformer("rfe", feature_selection.RFE(linear_model.LogisticRegression(), n_features_to_select=2), y=Y3)
    transformer("random_projection", random_projection.GaussianRandomProjection(2, random_state=0), tolerance=1e-4)
    transformer("nca", neighbors.NeighborhoodComponentsAnalysis(2, random_state=0), y=Y3, tolerance=1e-4)
    rows = X[-ROWS:]
    means = cluster.KMeans(3, random_state=0, n_init=2).fit(X)
    case("k_means", "cluster", lambda: to_onnx(means, X[:1]), {"X": rows},
         lambda: [means.predict(rows), means.transform(rows)], 1e-4)
    mix = mixture.GaussianMixture(3, random_state=0).fit(X)
    case("gaussian_mixture", "cluster", lambda: to_onnx(mix, X[:1]), {"X": rows},
         lambda: [mix.predict(rows), mix.predict_proba(rows)], 1e-4)
    outliers = ensemble.IsolationForest(n_estimators=6, random_state=0).fit(X)
    case("isolation_forest", "outliers", lambda: to_onnx(outliers, X[:1], target_opset={"": 17, "ai.onnx.ml": 3}), {"X": rows},
         lambda: [outliers.predict(rows).reshape(-1, 1), outliers.decision_function(rows).reshape(-1, 1)], 1e-4)
    one = svm.OneClassSVM().fit(X)
    case("one_class_svm", "outliers", lambda: to_onnx(one, X[:1]), {"X": rows},
         lambda: [one.predict(rows).reshape(-1, 1), one.decision_function(rows).reshape(-1, 1)], 1e-4)
    lof = neighbors.LocalOutlierFactor(novelty=True).fit(X)
    case("local_outlier_factor", "outliers", lambda: to_onnx(lof, X[:1]), {"X": rows},
         lambda: [lof.predict(rows).reshape(-1, 1), None], 1e-4)


def main():
    classifiers()
    regressors()
    transformers()
