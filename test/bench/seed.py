#!/usr/bin/python3
"""Exports a table to S3 in the simplest way: all of it in memory, as JSON.

    seed.py DATABASE-URL TABLE ENDPOINT BUCKET KEY

It uses SQLAlchemy and boto3, with credentials from the environment.  Each value
becomes a string, and NULL becomes "None".  Many scripts and Lambda functions
export like this, so exports of onboard are compared with it.
"""

import json
import sys

import boto3
import sqlalchemy


def main():
    url, table, endpoint, bucket, key = sys.argv[1:]
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        result = connection.execute(sqlalchemy.text(f"SELECT * FROM {table}"))
        names = list(result.keys())
        rows = [
            {name: str(value) for name, value in zip(names, row)}
            for row in result
        ]
    client = boto3.client("s3", endpoint_url=endpoint)
    client.put_object(
        Bucket=bucket, Key=key, Body=json.dumps({"Results": rows})
    )


if __name__ == "__main__":
    main()
