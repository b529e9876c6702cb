//! An example module: what the forest service measured, to what a model of forest cover wants to know.
//!
//! It clips the elevation to what occurs, makes the two distances to water one, averages the hillshade over the day, and
//! flags rows that were clipped. The README beside this crate walks through it.

use modelgate_module::{Batch, Column, Datatype, Error, Module, Packer, Signature, log};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The lowest and the highest elevation that the model was fitted on, in metres.
    elevation: [f64; 2],
}

struct Terrain {
    low: f64,
    high: f64,
}

impl Module for Terrain {
    type Config = Config;

    fn init(config: Config) -> Result<(Self, Signature), Error> {
        let [low, high] = config.elevation;
        if low > high {
            return Err(Error::internal(format!("`elevation`: expected [low, high], got [{low}, {high}]")));
        }
        let mut soil = Column::scalar("Soil_Type", Datatype::Bytes);
        soil.nullable = true;
        let inputs = vec![
            Column::scalar("Elevation", Datatype::F64),
            Column::scalar("Horizontal_Distance_To_Hydrology", Datatype::F64),
            Column::scalar("Vertical_Distance_To_Hydrology", Datatype::F64),
            Column::new("Hillshade", Datatype::F64, [-1, 3]),
            soil,
        ];
        let outputs = vec![
            Column::scalar("Elevation", Datatype::F64),
            Column::scalar("Distance_To_Hydrology", Datatype::F64),
            Column::scalar("Hillshade_Mean", Datatype::F64),
            Column::scalar("Soil_Type", Datatype::Bytes),
            Column::scalar("Outlier", Datatype::Bool),
        ];
        Ok((Self { low, high }, Signature { inputs, outputs }))
    }

    fn process(&mut self, inputs: &Batch<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
        let elevations = inputs.values::<f64>("Elevation")?;
        if let Some(row) = elevations.iter().position(|elevation| elevation.is_nan()) {
            return Err(Error::invalid("Elevation", row, "expected metres, got NaN"));
        }
        for (clipped, elevation) in outputs.fill::<f64>("Elevation")?.iter_mut().zip(elevations) {
            *clipped = elevation.clamp(self.low, self.high);
        }

        let across = inputs.values::<f64>("Horizontal_Distance_To_Hydrology")?;
        let down = inputs.values::<f64>("Vertical_Distance_To_Hydrology")?;
        let distances = outputs.fill::<f64>("Distance_To_Hydrology")?;
        for (distance, (across, down)) in distances.iter_mut().zip(across.iter().zip(down)) {
            *distance = across.hypot(*down);
        }

        // Three values a row: in the morning, at noon, in the afternoon.
        let (shades, _) = inputs.values::<f64>("Hillshade")?.as_chunks::<3>();
        for (mean, shades) in outputs.fill::<f64>("Hillshade_Mean")?.iter_mut().zip(shades) {
            *mean = shades.iter().sum::<f64>() / 3.0;
        }

        let soils = inputs.text("Soil_Type")?;
        outputs.text("Soil_Type", soils.iter().map(|soil| soil.unwrap_or("unknown")))?;

        let is_outlier = |elevation: &f64| !(self.low..=self.high).contains(elevation);
        for (flag, elevation) in outputs.bools("Outlier")?.iter_mut().zip(elevations) {
            *flag = u8::from(is_outlier(elevation));
        }
        let outliers = elevations.iter().filter(|elevation| is_outlier(elevation)).count();
        if outliers > 0 {
            log::warn(&format!("{outliers} of {} rows lie outside the elevations of the model", inputs.rows()));
        }
        Ok(())
    }
}

modelgate_module::export!(Terrain);

#[cfg(test)]
mod tests {
    use modelgate_module::testing::{Host, rows};

    use super::*;

    const CONFIG: &str = r#"{"elevation": [1800, 3900]}"#;

    #[test]
    fn derives_features_and_flags_outliers() {
        let mut terrain = Host::new().start::<Terrain>(CONFIG).unwrap();
        let got = terrain.run(rows![
            [2500.0, 30.0, -40.0, [200.0, 230.0, 140.0], "C7746"],
            [4808.0, 0.0, 7.0, [220.0, 220.0, 220.0], None::<&str>],
        ]);
        let expected = rows![[2500.0, 50.0, 190.0, "C7746", false], [3900.0, 7.0, 220.0, "unknown", true]];
        assert_eq!(got.unwrap(), expected);
        assert_eq!(
            terrain.logs(),
            [(log::Level::Warn, "1 of 2 rows lie outside the elevations of the model".to_owned())]
        );
    }

    #[test]
    fn refuses_an_elevation_that_is_no_number() {
        let mut terrain = Host::new().start::<Terrain>(CONFIG).unwrap();
        let refused = terrain.run(rows![[f64::NAN, 0.0, 0.0, [0.0, 0.0, 0.0], "C7746"]]);
        assert_eq!(refused.unwrap_err(), Error::invalid("Elevation", 0, "expected metres, got NaN"));
    }

    #[test]
    fn refuses_a_configuration_that_makes_no_sense() {
        let error = Host::new().start::<Terrain>(r#"{"elevation": [3900, 1800]}"#).unwrap_err();
        assert_eq!(error, Error::internal("`elevation`: expected [low, high], got [3900, 1800]"));
    }
}
