//! The column of each category.

/// Of no one-hot column.
pub(crate) const NOWHERE: f64 = -1.0;

/// The one-hot column of each category of a column.
pub(crate) struct OneHot {
    pub(crate) becomes: Vec<f64>,
    /// The column of the infrequent ones.
    pub(crate) infrequent: f64,
    /// The number of columns.
    pub(crate) size: usize,
}

impl OneHot {
    pub(crate) fn new(categories: usize, drop: Option<usize>, infrequent: &[usize]) -> Result<Self, String> {
        if let Some(place) = drop.iter().chain(infrequent).find(|place| **place >= categories) {
            return Err(format!(
                "has {categories} categories: there is no place {place} to drop or count as infrequent"
            ));
        }
        // Infrequent ones share one column behind the others.
        let mut rare = vec![false; categories];
        for place in infrequent {
            rare[*place] = true;
        }
        let frequent = rare.iter().filter(|rare| !**rare).count();
        let mut next = 0..frequent;
        let groups: Vec<usize> =
            rare.iter().map(|rare| if *rare { frequent } else { next.next().unwrap_or(0) }).collect();
        let dropped = drop.map(|place| groups[place]);
        let column = |group: usize| match dropped {
            Some(dropped) if group == dropped => NOWHERE,
            Some(dropped) if group > dropped => group as f64 - 1.0,
            _ => group as f64,
        };
        let any_rare = frequent < categories;
        Ok(Self {
            becomes: groups.iter().map(|group| column(*group)).collect(),
            infrequent: if any_rare { column(frequent) } else { NOWHERE },
            size: frequent + usize::from(any_rare) - usize::from(dropped.is_some()),
        })
    }
}
