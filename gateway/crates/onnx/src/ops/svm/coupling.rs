//! From probabilities of pairs to probabilities of classes, by the second method of Wu, Lin and Weng (2004), which
//! libsvm uses.

/// `pairs[i * classes + j]` is the probability of class `i` against class `j`.
pub(super) fn couple(classes: usize, pairs: &[f64]) -> Vec<f64> {
    let rounds = classes.max(100);
    let tolerance = 0.005 / classes as f64;
    let pair = |i: usize, j: usize| pairs[i * classes + j];
    // Minimises p'Qp over probabilities p.
    let mut q = vec![0.0; classes * classes];
    for i in 0..classes {
        for j in (0..classes).filter(|&j| j != i) {
            q[i * classes + i] += pair(j, i) * pair(j, i);
            q[i * classes + j] = -pair(j, i) * pair(i, j);
        }
    }
    let mut p = vec![1.0 / classes as f64; classes];
    let mut qp = vec![0.0; classes];
    for _ in 0..rounds {
        for (qp, row) in qp.iter_mut().zip(q.chunks_exact(classes)) {
            *qp = row.iter().zip(&p).map(|(q, p)| q * p).sum();
        }
        let mut pqp: f64 = p.iter().zip(&qp).map(|(p, qp)| p * qp).sum();
        if qp.iter().all(|qp| (qp - pqp).abs() < tolerance) {
            break;
        }
        for t in 0..classes {
            let diagonal = q[t * classes + t];
            let diff = (pqp - qp[t]) / diagonal;
            p[t] += diff;
            pqp = (pqp + diff * (diff * diagonal + 2.0 * qp[t])) / (1.0 + diff) / (1.0 + diff);
            for j in 0..classes {
                qp[j] = (qp[j] + diff * q[t * classes + j]) / (1.0 + diff);
                p[j] /= 1.0 + diff;
            }
        }
    }
    p
}

#[cfg(test)]
mod tests {
    use super::couple;

    #[test]
    fn pairs_that_agree_give_their_classes_back() {
        let known = [0.5, 0.3, 0.2];
        let pairs: Vec<f64> = (0..9).map(|at| known[at / 3] / (known[at / 3] + known[at % 3])).collect();
        for (found, known) in couple(3, &pairs).iter().zip(known) {
            assert!((found - known).abs() < 2e-3, "{found} {known}");
        }
    }
}
