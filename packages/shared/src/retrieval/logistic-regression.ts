/** A fitted model over standardised features: p = sigmoid(bias + sum of weight * (x - mean) / scale). */
export interface LogisticModel {
  mean: number[];
  scale: number[];
  weights: number[];
  bias: number;
}

/** One labelled example; null where a feature is missing, which counts as that feature's mean. */
export interface Example {
  features: (number | null)[];
  label: boolean;
  /** How much it counts; 1 when left out. */
  weight?: number;
}

export function sigmoid(x: number): number {
  return x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
}

/** Probability of the positive class. */
export function predict(model: LogisticModel, features: (number | null)[]): number {
  const score = model.weights.reduce((sum, weight, j) => sum + weight * standardised(model, features, j), model.bias);
  return sigmoid(score);
}

function standardised(model: LogisticModel, features: (number | null)[], j: number): number {
  const value = features[j];
  return value === null || value === undefined ? 0 : (value - (model.mean[j] ?? 0)) / (model.scale[j] ?? 1);
}

/**
 * L2-regularised logistic regression with weights held at zero or above: every feature is a similarity, and a higher
 * similarity must never make a result less probable, however the few examples fell. Coordinate descent on the quadratic
 * bound of Böhning and Lindsay ("Monotonicity of quadratic-approximation algorithms", 1988: the logistic's curvature is at
 * most 1/4), so that each step can only lower the loss. `penalty` is in units of examples; the bias is not penalised.
 */
export function fitLogistic(examples: Example[], options: { penalty: number; sweeps?: number } = { penalty: 1 }): LogisticModel {
  const width = examples[0]?.features.length ?? 0;
  const columns = Array.from({ length: width }, (_, j) => examples.map((example) => example.features[j] ?? null));
  const mean = columns.map((column) => average(column.filter((value) => value !== null)));
  const scale = columns.map((column, j) =>
    deviation(
      column.filter((value) => value !== null),
      mean[j] ?? 0,
    ),
  );
  const model: LogisticModel = { mean, scale, weights: mean.map(() => 0), bias: 0 };
  const rows = examples.map((example) => mean.map((_, j) => standardised(model, example.features, j)));
  const amounts = examples.map((example) => example.weight ?? 1);
  const targets = examples.map((example) => (example.label ? 1 : 0));
  const scores = rows.map(() => 0);
  const curvature = mean.map((_, j) => rows.reduce((sum, row, i) => sum + 0.25 * (amounts[i] ?? 1) * (row[j] ?? 0) ** 2, 0));
  const total = amounts.reduce((sum, amount) => sum + amount, 0);

  /** Minus the derivative of the loss along one column. */
  const slope = (at: (i: number) => number): number =>
    scores.reduce((sum, score, i) => sum + (amounts[i] ?? 1) * ((targets[i] ?? 0) - sigmoid(score)) * at(i), 0);

  for (let sweep = 0; sweep < (options.sweeps ?? 2_000); sweep++) {
    let moved = 0;
    const biasStep = total === 0 ? 0 : slope(() => 1) / (0.25 * total);
    model.bias += biasStep;
    for (let i = 0; i < scores.length; i++) scores[i] = (scores[i] ?? 0) + biasStep;
    moved = Math.max(moved, Math.abs(biasStep));
    for (let j = 0; j < width; j++) {
      const before = model.weights[j] ?? 0;
      const bound = (curvature[j] ?? 0) + options.penalty;
      const after = Math.max(0, before + (slope((i) => rows[i]?.[j] ?? 0) - options.penalty * before) / bound);
      if (after === before) continue;
      model.weights[j] = after;
      for (let i = 0; i < scores.length; i++) scores[i] = (scores[i] ?? 0) + (after - before) * (rows[i]?.[j] ?? 0);
      moved = Math.max(moved, Math.abs(after - before));
    }
    if (moved < 1e-6) break;
  }
  return model;
}

function average(values: number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** 1 where a feature does not vary, so that it is never divided by zero. */
function deviation(values: number[], mean: number): number {
  const spread = Math.sqrt(average(values.map((value) => (value - mean) ** 2)));
  return spread < 1e-9 ? 1 : spread;
}
