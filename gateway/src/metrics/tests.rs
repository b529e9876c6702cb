use std::time::Duration;

use super::*;
use crate::wasm::instance::Timing;

#[test]
fn series_of_versions_that_are_gone_are_removed() {
    let metrics = Metrics::new().expect("fixed names");
    let one = metrics.model("m", "1", &["a"]);
    one.ended(Outcome::Success);
    metrics.live("m", "1", 1, "d", 10);
    for outcome in ["live", "switched", "rolled_back"] {
        lifecycle::count(&metrics.lifecycle.releases, &["m", outcome]);
    }
    let series = || String::from_utf8(metrics.render().expect("rendered")).expect("text");
    let count = || series().lines().filter(|line| line.contains(r#"model="m""#)).count();
    assert!(count() > 20);
    metrics.retain(|_, _| false, |_| false);
    assert!(count() > 20, "a generation is alive");
    drop(one);
    metrics.ended("m", "1", 1, "d");
    metrics.retain(|_, _| true, |_| true);
    assert!(count() > 20, "the version is known");
    metrics.retain(|_, _| false, |_| false);
    assert_eq!(count(), 0, "{}", series());
}

#[test]
fn every_family_registers_and_triton_follows() {
    let metrics = Metrics::new().expect("fixed names");
    let model = metrics.model("m", "1", &["a", "b"]);
    model.ended(Outcome::Success);
    model.ended(Outcome::Shed);
    model.rows.observe(3.0);
    model.batch_rows.observe(3.0);
    let stages = vec![Duration::from_micros(10), Duration::from_micros(20)];
    model.timed(&Timing { stages, model: Duration::from_micros(5) });
    for _ in 0..2 {
        let text = String::from_utf8(metrics.render().expect("rendered")).expect("text");
        for line in [
            r#"nv_inference_request_success{model="m",version="1"} 1"#,
            r#"nv_inference_request_failure{model="m",reason="REJECTED",version="1"} 1"#,
            r#"nv_inference_count{model="m",version="1"} 3"#,
            r#"modelgate_requests_total{model="m",outcome="success",version="1"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
