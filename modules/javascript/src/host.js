// Where messages go and where the model is. The sandbox puts the gateway here, a test what it gives to `run`.
export const host = {
  log: (level, message) => console.error(`${level}: ${message}`),
  model: undefined,
};

export const log = {
  debug: (message) => host.log('debug', String(message)),
  info: (message) => host.log('info', String(message)),
  warn: (message) => host.log('warn', String(message)),
  error: (message) => host.log('error', String(message)),
};
