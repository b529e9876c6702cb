"""Makes a user and a role that may read and write buckets, and tells their keys as one line of JSON.

The server comes from AWS_ENDPOINT_URL.
"""

import json

import boto3

ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}

iam = boto3.client("iam")
iam.create_user(UserName="reader")
iam.put_user_policy(UserName="reader", PolicyName="buckets", PolicyDocument=json.dumps(ALLOW))
key = iam.create_access_key(UserName="reader")["AccessKey"]
role = iam.create_role(RoleName="readers", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
iam.put_role_policy(RoleName="readers", PolicyName="buckets", PolicyDocument=json.dumps(ALLOW))
session = boto3.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="tests")["Credentials"]
print(
    json.dumps(
        {
            "user": {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]},
            "session": {
                "key": session["AccessKeyId"],
                "secret": session["SecretAccessKey"],
                "token": session["SessionToken"],
            },
        }
    )
)
