//! `.json` files.

use std::collections::BTreeMap;

use super::READER;
use super::about::About;
use super::ctr::{self, Key, Projection, Table, Type};
use super::model::{Category, Float, Model, Parts, Plan, Step};
use crate::document::{self, Document};
use crate::error::Read;
use crate::trees::{MOST_FEATURES, MOST_SCORES};

/// Reads a model.
pub(crate) fn from_json(bytes: &[u8]) -> Read<(Model, About)> {
    let document = document::from_catboost_json(READER, bytes)?;
    let features = document.need(READER, "features_info")?;
    for (key, what) in [("text_features", "texts as features"), ("embedding_features", "embeddings as features")] {
        if features.get(key).and_then(Document::list).is_some_and(|list| !list.is_empty()) {
            return Err(READER.unsupported(what));
        }
    }
    let list = |key: &str| features.get(key).and_then(Document::list).unwrap_or_default();
    let floats = list("float_features").iter().map(float).collect::<Read<Vec<_>>>()?;
    let mut categories = list("categorical_features").iter().map(category).collect::<Read<Vec<_>>>()?;
    categories.sort_by_key(|category| category.index);
    let one_hot = (0..categories.len()).filter(|&index| !categories[index].values.is_empty()).collect();
    let ctrs = list("ctrs").iter().map(ctr_feature).collect::<Read<Vec<_>>>()?;
    let mut trees = TreesOf::default();
    let plan = trees.plan(&document)?;
    let (scale, bias) = match document.get("scale_and_bias").and_then(Document::list) {
        Some([scale, bias]) => {
            let bias = bias.number().map(|bias| vec![bias]).or_else(|| bias.numbers());
            let both = scale.number().zip(bias);
            both.ok_or_else(|| READER.corrupt("'scale_and_bias' has no numbers"))?
        }
        _ => (1.0, Vec::new()),
    };
    let tables = match document.get("ctr_data") {
        Some(Document::Map(map)) => map.iter().map(table).collect::<Read<BTreeMap<_, _>>>()?,
        _ => BTreeMap::new(),
    };
    let dimension = trees.dimension.unwrap_or(bias.len().max(1));
    let parts = Parts { floats, categories, one_hot, ctrs, tables, plan, leaves: trees.leaves, dimension, scale, bias };
    let model = Model::new(parts)?;
    let info = document.get("model_info");
    let entry = |key: &str| info.and_then(|info| info.get(key));
    let threshold = entry("binclass_probability_threshold").and_then(Document::number);
    let version = entry("catboost_version_info").and_then(Document::text);
    let about = About::new(entry("params"), entry("class_params"), threshold, version, model.scores())?;
    let names = model.names();
    Ok((model, About { names, ..about }))
}

/// The numbers under a key; none where there is none, or nothing.
fn singles(document: &Document, key: &str) -> Vec<f32> {
    let numbers = document.get(key).and_then(Document::numbers).unwrap_or_default();
    numbers.into_iter().map(|number| number as f32).collect()
}

fn name(document: &Document) -> String {
    let given = |key: &str| document.get(key).and_then(Document::text).filter(|name| !name.is_empty());
    given("feature_name").or_else(|| given("feature_id")).unwrap_or_default().to_owned()
}

fn float(document: &Document) -> Read<Float> {
    let has_missing = document.get("has_nans") == Some(&Document::Bool(true));
    let missing = match document.get("nan_value_treatment").and_then(Document::text) {
        _ if !has_missing => None,
        None | Some("AsIs") => None,
        Some("AsFalse") => Some(f32::NEG_INFINITY),
        Some("AsTrue") => Some(f32::INFINITY),
        Some(other) => return Err(READER.unsupported(format!("missing values treated '{other}'"))),
    };
    Ok(Float {
        index: document.count_of(READER, "feature_index", MOST_FEATURES)?,
        flat: document.count_of(READER, "flat_feature_index", MOST_FEATURES)?,
        borders: singles(document, "borders"),
        missing,
        name: name(document),
    })
}

fn category(document: &Document) -> Read<Category> {
    let values = document.get("values").and_then(Document::integers).unwrap_or_default();
    let values = values.into_iter().map(|value| i32::try_from(value).ok()).collect::<Option<_>>();
    Ok(Category {
        index: document.count_of(READER, "feature_index", MOST_FEATURES)?,
        flat: document.count_of(READER, "flat_feature_index", MOST_FEATURES)?,
        values: values.ok_or_else(|| READER.corrupt("a value of a category is no hash"))?,
        name: name(document),
    })
}

fn projection(list: &[Document]) -> Read<Projection> {
    let mut projection = Projection::default();
    for element in list {
        match element.text_of(READER, "combination_element")? {
            "cat_feature_value" => {
                projection.categories.push(element.count_of(READER, "cat_feature_index", MOST_FEATURES)?);
            }
            "float_feature" => {
                let feature = element.count_of(READER, "float_feature_index", MOST_FEATURES)?;
                let border = element.need(READER, "border")?.number();
                let border = border.ok_or_else(|| READER.corrupt("'border' is no number"))? as f32;
                projection.numbers.push((feature, border.to_bits()));
            }
            _ => {
                let feature = element.count_of(READER, "cat_feature_index", MOST_FEATURES)?;
                let value = element.need(READER, "value")?.integer().and_then(|value| i32::try_from(value).ok());
                projection.values.push((feature, value.ok_or_else(|| READER.corrupt("'value' is no hash"))?));
            }
        }
    }
    Ok(projection)
}

fn ctr_feature(document: &Document) -> Read<ctr::Feature> {
    let single = |key: &str| {
        let number = document.need(READER, key)?.number().map(|number| number as f32);
        number.ok_or_else(|| READER.corrupt(format!("'{key}' is no number")))
    };
    let projection = projection(document.list_of(READER, "elements")?)?;
    Ok(ctr::Feature {
        key: (projection, Type::named(document.text_of(READER, "ctr_type")?)?),
        target_border: document.count_of(READER, "target_border_idx", MOST_SCORES)?,
        prior: [single("prior_numerator")?, single("prior_denomerator")?],
        shift: single("shift")?,
        scale: single("scale")?,
        borders: singles(document, "borders"),
    })
}

fn table((key, document): (&String, &Document)) -> Read<(Key, Table)> {
    let key = document::from_catboost_json(READER, key.as_bytes())?;
    let kind = Type::named(key.text_of(READER, "type")?)?;
    let key = (projection(key.list_of(READER, "identifier")?)?, kind);
    let stride = document.count_of(READER, "hash_stride", MOST_SCORES)?;
    let expected = match kind {
        _ if kind.is_mean() => 3..=3,
        _ if kind.is_counter() => 2..=2,
        _ => 2..=MOST_SCORES,
    };
    let items = document.list_of(READER, "hash_map")?;
    if !expected.contains(&stride) || items.len() % stride != 0 {
        return Err(READER.corrupt(format!("a CTR has {} numbers in runs of {stride}", items.len())));
    }
    let denominator = document.get("counter_denominator").and_then(Document::integer);
    let mut table = Table { classes: stride - 1, ..Table::default() };
    table.denominator = denominator.and_then(|number| i32::try_from(number).ok()).unwrap_or(0);
    let count = |item: &Document| {
        // CatBoost itself reads whole numbers here.
        let count = item.integer().or_else(|| item.number().map(|number| number as i64));
        count.and_then(|count| i32::try_from(count).ok()).ok_or_else(|| READER.corrupt("a count is no whole number"))
    };
    for (index, run) in items.chunks(stride).enumerate() {
        let hash = run[0].text().and_then(|hash| hash.parse().ok());
        let hash = hash.ok_or_else(|| READER.corrupt("a hash is no whole number"))?;
        let index = u32::try_from(index).map_err(|_| READER.corrupt("a CTR has too many categories"))?;
        table.put(hash, index);
        if kind.is_mean() {
            table.means.push((count(&run[1])? as f32, count(&run[2])?));
        } else {
            for item in &run[1..] {
                table.counts.push(count(item)?);
            }
        }
    }
    Ok((key, table))
}

/// The trees while they are read.
#[derive(Default)]
struct TreesOf {
    leaves: Vec<f64>,
    dimension: Option<usize>,
    steps: Vec<Step>,
}

impl TreesOf {
    fn plan(&mut self, document: &Document) -> Read<Plan> {
        if document.get("oblivious_trees").is_some() {
            let trees = document.list_of(READER, "oblivious_trees")?;
            return Ok(Plan::Symmetric(trees.iter().map(|tree| self.symmetric(tree)).collect::<Read<_>>()?));
        }
        let mut roots = Vec::new();
        for tree in document.list_of(READER, "trees")? {
            roots.push(self.steps.len());
            self.step(tree)?;
        }
        Ok(Plan::Other(std::mem::take(&mut self.steps), roots))
    }

    fn symmetric(&mut self, tree: &Document) -> Read<Vec<usize>> {
        let splits = tree.get("splits").and_then(Document::list).unwrap_or_default();
        let splits =
            splits.iter().map(|split| split.count_of(READER, "split_index", usize::MAX)).collect::<Read<Vec<_>>>()?;
        let values = tree.numbers_of(READER, "leaf_values")?;
        let leaves = u32::try_from(splits.len()).ok().and_then(|depth| 1usize.checked_shl(depth)).unwrap_or(usize::MAX);
        self.values(&values, values.len() / leaves)?;
        Ok(splits)
    }

    fn values(&mut self, values: &[f64], dimension: usize) -> Read<()> {
        if *self.dimension.get_or_insert(dimension) != dimension {
            return Err(READER.corrupt("its trees have different numbers of scores"));
        }
        self.leaves.extend_from_slice(values);
        Ok(())
    }

    /// A node and what is below it; the text's own nesting, which is bounded, bounds this one.
    fn step(&mut self, node: &Document) -> Read<()> {
        let at = self.steps.len();
        let mut step = Step { split: 0, left: 0, right: 0, leaf: self.leaves.len() };
        self.steps.push(step);
        if let Some(value) = node.get("value") {
            let values = value.number().map(|value| vec![value]).or_else(|| value.numbers());
            let values = values.ok_or_else(|| READER.corrupt("a leaf's value is no number"))?;
            return self.values(&values, values.len());
        }
        step.split = node.need(READER, "split")?.count_of(READER, "split_index", usize::MAX)?;
        step.left = self.steps.len() - at;
        self.step(node.need(READER, "left")?)?;
        step.right = self.steps.len() - at;
        self.step(node.need(READER, "right")?)?;
        self.steps[at] = step;
        Ok(())
    }
}
