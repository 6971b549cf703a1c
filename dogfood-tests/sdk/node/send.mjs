// Sends one exception and one message with the real @sentry/node and prints their ids as JSON.

import * as Sentry from '@sentry/node';

function readPrice(basket) {
  return basket.price.amount;
}

function checkOut(basket) {
  return readPrice(basket);
}

Sentry.init({ dsn: process.env.SENTRY_DSN, environment: 'dogfood', release: 'dogfood@1' });

let exception;
try {
  checkOut({});
} catch (error) {
  exception = Sentry.captureException(error);
}
const message = Sentry.captureMessage('the node basket was left behind', 'warning');
const flushed = await Sentry.flush(20_000);
if (!flushed) {
  console.error('the SDK could not flush in 20 s');
  process.exit(1);
}
console.log(JSON.stringify({ platform: 'node', exception, message }));
