"""Makes the conformance cases: models of scikit-learn, XGBoost and LightGBM as their converters write them.

    python -m venv venv && venv/bin/pip install -r requirements.txt && venv/bin/python make_cases.py

Everything is seeded. The cases are committed; `cargo test --lib conformance` runs them and holds ../../CONFORMANCE.md to
what it finds.
"""

import case
import sklearn_cases
import booster_cases
import pipeline_cases
import operator_cases

for module in (sklearn_cases, booster_cases, pipeline_cases, operator_cases):
    module.main()
print(f"{len(case.MADE)} cases")
for name, reason in case.SKIPPED:
    print(f"no case {name}: {reason}")
