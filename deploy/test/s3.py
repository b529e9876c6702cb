"""The store in SeaweedFS's place where its image cannot be had: moto's S3 behind the same list of identities.

    python3 s3.py IDENTITIES PORT

A request needs a signature (SigV4) of a key in IDENTITIES, the file that SeaweedFS is given (s3/identities.json with the keys
filled in), and the identity an action for it, by SeaweedFS's rule: `Action`, `Action:bucket`, or `Action:bucket/prefix*`.
"""

import hashlib
import hmac
import json
import re
import sys
from urllib.parse import parse_qsl, unquote

from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

# The account that moto keeps everything under. The second bucket is there to be kept out of.
ACCOUNT, BUCKETS = "123456789012", ("models", "others")


def identities(path):
    """By access key: the name, the secret and the actions."""
    with open(path) as file:
        listed = json.load(file)["identities"]
    return {keys["accessKey"]: (one["name"], keys["secretKey"], one["actions"]) for one in listed for keys in one["credentials"]}


def signature(environ, secret, scope, signed):
    """The signature that a request with this secret would have."""

    def step(key, text):
        return hmac.new(key, text.encode(), hashlib.sha256).digest()

    raw = environ["RAW_URI"].split("?", 1)
    query = sorted(tuple(part.partition("=")[::2]) for part in (raw[1].split("&") if len(raw) == 2 and raw[1] else []))
    special = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
    values = [f"{name}:{' '.join(environ.get(special.get(name, 'HTTP_' + name.upper().replace('-', '_')), '').split())}\n" for name in signed]
    request = "\n".join(
        [environ["REQUEST_METHOD"], raw[0], "&".join(map("=".join, query)), "".join(values), ";".join(signed), environ.get("HTTP_X_AMZ_CONTENT_SHA256", "")]
    )
    date, region, service, end = scope
    text = "\n".join(
        ["AWS4-HMAC-SHA256", environ["HTTP_X_AMZ_DATE"], "/".join(scope), hashlib.sha256(request.encode()).hexdigest()]
    )
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, end):
        key = step(key, part)
    return step(key, text).hex()


def needed(method, bucket, key, query):
    """The action that a request needs, and the path that it is about."""
    if not bucket:
        return "List", ""
    if not key:
        if method in ("GET", "HEAD"):
            return "List", f"{bucket}/{query.get('prefix', '')}"
        # Deleting several objects at once; making and removing a bucket is for the administrator.
        return ("Write", f"{bucket}/") if method == "POST" and "delete" in query else ("Admin", bucket)
    return ("Read" if method in ("GET", "HEAD") else "Write"), f"{bucket}/{key}"


def may(actions, action, path):
    bucket = path.split("/", 1)[0]
    for allowed in actions:
        if allowed in (action, f"{action}:{bucket}" if bucket else action):
            return True
        if allowed.endswith("*") and f"{action}:{path}".startswith(allowed[:-1]):
            return True
    return False


class Guarded:
    """An application that only the identities reach."""

    def __init__(self, application, known):
        self.application, self.known = application, known

    def __call__(self, environ, start_response):
        reason = self.refusal(environ)
        if reason is None:
            return self.application(environ, start_response)
        body = f'<?xml version="1.0"?><Error><Code>{reason}</Code><Message>{reason}</Message></Error>'.encode()
        start_response("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]

    def refusal(self, environ):
        found = re.match(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/([^,]+), ?SignedHeaders=([^,]+), ?Signature=(\w+)", environ.get("HTTP_AUTHORIZATION", "")
        )
        if not found:
            return "AccessDenied"
        access_key, scope, signed, given = found.groups()
        if access_key not in self.known:
            return "InvalidAccessKeyId"
        _, secret, actions = self.known[access_key]
        if not hmac.compare_digest(given, signature(environ, secret, scope.split("/"), signed.split(";"))):
            return "SignatureDoesNotMatch"
        path, _, query = environ["RAW_URI"].partition("?")
        bucket, _, key = unquote(path).lstrip("/").partition("/")
        action, about = needed(environ["REQUEST_METHOD"], bucket, key, dict(parse_qsl(query, keep_blank_values=True)))
        if not may(actions, action, about):
            return "AccessDenied"
        source = unquote(environ.get("HTTP_X_AMZ_COPY_SOURCE", "")).lstrip("/")
        return None if not source or may(actions, "Read", source) else "AccessDenied"


def main(path, port):
    for bucket in BUCKETS:
        s3_backends[ACCOUNT]["aws"].create_bucket(bucket, "us-east-1")
    application = Guarded(DomainDispatcherApplication(create_backend_app), identities(path))
    run_simple("0.0.0.0", int(port), application, threaded=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
