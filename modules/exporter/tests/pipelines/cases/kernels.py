"""Estimators and steps that compare rows with others: kernels, neighbours, processes, outliers, codes of classes."""

from typing import Any

import numpy as np
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import KernelPCA, LatentDirichletAllocation
from sklearn.ensemble import IsolationForest, RandomTreesEmbedding
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    ExpSineSquared,
    Matern,
    RationalQuadratic,
    WhiteKernel,
)
from sklearn.kernel_approximation import (
    AdditiveChi2Sampler,
    Nystroem,
    PolynomialCountSketch,
    RBFSampler,
    SkewedChi2Sampler,
)
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, SGDClassifier, SGDOneClassSVM
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.neighbors import (
    KNeighborsClassifier,
    LocalOutlierFactor,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC, NuSVC
from sklearn.tree import DecisionTreeClassifier

from .data import Case, amount, case, classified, clients, grades, of_numbers, regressed, simple
from .texts import opinions


def three(*steps: Any) -> Case:
    """Three classes of text, over two numbers."""
    frame, _ = clients()
    return make_pipeline(StandardScaler(), *steps), frame[["edad", "deuda"]].astype(float), grades(frame)


def unusual(model: Any) -> Case:
    frame, _ = clients()
    return make_pipeline(StandardScaler(), model), frame[["edad", "deuda"]].astype(float), None


for _name, _model in {
    "svc_text_linear": lambda: SVC(kernel="linear"),
    "svc_text_likely": lambda: SVC(probability=True, random_state=0),
    "nu_svc_likely": lambda: NuSVC(probability=True, random_state=0),
    "svc_one_vs_one": lambda: SVC(decision_function_shape="ovo"),
    "svc_break_ties": lambda: SVC(break_ties=True),
    "one_vs_one": lambda: OneVsOneClassifier(LinearSVC()),
    "one_vs_one_likely": lambda: OneVsOneClassifier(LogisticRegression()),
    "one_vs_one_trees": lambda: OneVsOneClassifier(DecisionTreeClassifier(max_depth=3)),
    "one_vs_one_svc": lambda: OneVsOneClassifier(SVC()),
    "one_vs_rest_svc": lambda: OneVsRestClassifier(SVC()),
    "output_code": lambda: OutputCodeClassifier(LogisticRegression(), random_state=0),
    "output_code_svc": lambda: OutputCodeClassifier(LinearSVC(), code_size=2, random_state=0),
    "output_code_trees": lambda: OutputCodeClassifier(DecisionTreeClassifier(max_depth=3), code_size=3, random_state=1),
    "radius": lambda: RadiusNeighborsClassifier(1.0, outlier_label="bajo"),
    "radius_distance": lambda: RadiusNeighborsClassifier(0.8, weights="distance", outlier_label="most_frequent"),
    "radius_unlabelled": lambda: RadiusNeighborsClassifier(9.0),
    "knn_text_distance": lambda: KNeighborsClassifier(7, weights="distance"),
    "gaussian_process_three": lambda: GaussianProcessClassifier(RBF(), optimizer=None),
}.items():
    simple(_name, lambda model=_model: three(model()))

for _name, _steps in {
    "rbf_sampler": lambda: (StandardScaler(), RBFSampler(gamma=0.3, n_components=40, random_state=0), SGDClassifier(loss="log_loss", random_state=0)),
    "rbf_sampler_scale": lambda: (StandardScaler(), RBFSampler(gamma="scale", n_components=20, random_state=0), LogisticRegression()),
    "nystroem": lambda: (StandardScaler(), Nystroem(n_components=30, random_state=0), LogisticRegression()),
    "nystroem_poly": lambda: (StandardScaler(), Nystroem("poly", degree=2, gamma=0.5, coef0=1, n_components=20, random_state=0), LinearSVC()),
    "nystroem_cosine": lambda: (StandardScaler(), Nystroem("cosine", n_components=3, random_state=0), LogisticRegression()),
    "nystroem_laplacian": lambda: (StandardScaler(), Nystroem("laplacian", gamma=0.2, n_components=20, random_state=0), LogisticRegression()),
    "chi2_sampler": lambda: (MinMaxScaler(clip=True), AdditiveChi2Sampler(), LogisticRegression()),
    "skewed_chi2": lambda: (MinMaxScaler(clip=True), SkewedChi2Sampler(n_components=20, random_state=0), LogisticRegression()),
    "count_sketch": lambda: (StandardScaler(), PolynomialCountSketch(degree=2, n_components=16, random_state=0), LogisticRegression()),
    "kernel_pca": lambda: (StandardScaler(), KernelPCA(3, kernel="rbf", gamma=0.3), LogisticRegression()),
    "kernel_pca_linear": lambda: (StandardScaler(), KernelPCA(2), LogisticRegression()),
    "trees_as_features": lambda: (RandomTreesEmbedding(8, max_depth=3, random_state=0), LogisticRegression(max_iter=500)),
    "trees_as_features_beside": lambda: (make_union(StandardScaler(), RandomTreesEmbedding(5, max_depth=2, random_state=0, sparse_output=False)), LogisticRegression(max_iter=500)),
    "gaussian_process_classes": lambda: (StandardScaler(), GaussianProcessClassifier(1.0 * RBF(1.0), optimizer=None)),
}.items():  # fmt: skip
    simple(_name, lambda steps=_steps: of_numbers(*steps()))

for _name, _model in {
    "kernel_ridge": lambda: KernelRidge(alpha=0.5),
    "kernel_ridge_rbf": lambda: KernelRidge(kernel="rbf", gamma=0.05, alpha=0.1),
    "kernel_ridge_poly": lambda: KernelRidge(kernel="polynomial", degree=2, gamma=0.1),
    "kernel_ridge_laplacian": lambda: KernelRidge(kernel="laplacian", gamma=0.05),
    "kernel_ridge_cosine": lambda: KernelRidge(kernel="cosine"),
    "radius_regressor": lambda: RadiusNeighborsRegressor(25.0, weights="distance"),
    "gaussian_process_quadratic": lambda: GaussianProcessRegressor(ConstantKernel(2.0) * RationalQuadratic() + WhiteKernel(0.5), optimizer=None, normalize_y=True),
    "gaussian_process_periodic": lambda: GaussianProcessRegressor(DotProduct() + ExpSineSquared(2.0, 3.0) + WhiteKernel(1.0), optimizer=None, alpha=30.0, normalize_y=True),
    "gaussian_process_each": lambda: GaussianProcessRegressor(Matern(nu=2.5, length_scale=[3.0] * 15) ** 2, optimizer=None, alpha=1.0, normalize_y=True),
}.items():  # fmt: skip
    simple(_name, lambda model=_model: regressed(model()))

for _name, _model in {
    "elliptic": lambda: EllipticEnvelope(random_state=0),
    "local_outliers": lambda: LocalOutlierFactor(15, novelty=True),
    "isolation_alone": lambda: IsolationForest(n_estimators=30, contamination=0.05, random_state=0),
    "isolation_some_features": lambda: IsolationForest(n_estimators=20, max_features=1, random_state=0),
    "sgd_one_class": lambda: make_pipeline(RBFSampler(random_state=0, n_components=30), SGDOneClassSVM(random_state=0)),
}.items():
    simple(_name, lambda model=_model: unusual(model()))


@case
def several_kernel_ridges() -> Case:
    return regressed(KernelRidge(kernel="rbf", gamma=0.05), lambda f: np.c_[amount(f), f["deuda"]])


@case
def topics() -> Case:
    frame, y = opinions()
    words = make_pipeline(CountVectorizer(), LatentDirichletAllocation(4, random_state=0, max_iter=3))
    return make_pipeline(words, LogisticRegression()), frame["opinión"], y


@case
def gaussian_process_of_everything() -> Case:
    return classified(GaussianProcessClassifier(random_state=0, n_restarts_optimizer=0, optimizer=None))
