#!/usr/bin/python3
"""A table to S3 in the simplest way there is: all of it in memory, as JSON.

    seed.py DATABASE-URL TABLE ENDPOINT BUCKET KEY

With SQLAlchemy and boto3, credentials from the environment.  Each value is
made a string, NULL becomes "None".  One of the ways that exports are compared
with; many a script and Lambda does it so.
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
