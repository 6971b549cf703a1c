"""Sends one exception and one message with the real sentry-sdk and prints their ids as JSON."""

import json
import os

import sentry_sdk


def read_price(basket):
    """Fails as an application does: one frame of ours below another."""
    return basket["price"]


def check_out(basket):
    """The outer frame of the failure."""
    return read_price(basket)


def main():
    """Sends, flushes, prints."""
    sentry_sdk.init(dsn=os.environ["SENTRY_DSN"], environment="dogfood", release="dogfood@1")
    try:
        check_out({})
    except KeyError as error:
        exception = sentry_sdk.capture_exception(error)
    message = sentry_sdk.capture_message("the python basket was left behind", level="warning")
    sentry_sdk.flush(timeout=20)
    print(json.dumps({"platform": "python", "exception": exception, "message": message}))


if __name__ == "__main__":
    main()
