/** The caller's data is at fault: answered with status 422, which names the column and the row. */
export class Invalid extends Error {
  constructor(message, { column, row } = {}) {
    super(column === undefined ? message : `column '${column}': ${message}`);
    this.name = 'Invalid';
    this.problems = [{ message, column, row }];
  }

  /** Several problems at once. */
  static of(problems) {
    const error = new Invalid(problems[0].message, problems[0]);
    error.problems = problems;
    return error;
  }
}

/** The model refused or failed: answered with status 500; the text goes to the log. */
export class ModelError extends Error {
  constructor(message) {
    super(message);
    this.name = 'ModelError';
  }
}
