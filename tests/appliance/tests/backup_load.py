"""Writes to the API until it is stopped; what was acknowledged is in the file LOG: when it was asked for, when it was
acknowledged, what it is. Usage: backup_load.py LOG (on a host with the API and an operator's token)
"""

import json
import sys
import time
import urllib.error
import urllib.request

API = "http://127.0.0.1:8000/api/v1"
TOKEN = open("/etc/ringdown/secrets/OPERATOR_TOKEN").read().strip()


def post(path, body):
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(API + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def post_when_known(path, body):
    """A skill is known to the ACD a moment after it was made."""
    for _ in range(100):
        try:
            return post(path, body)
        except urllib.error.HTTPError as error:
            said = error.read().decode()
            time.sleep(0.1)
    sys.exit(said)


def main(log):
    def acknowledged(kind, asked, what):
        print(f"{asked:.3f} {time.time():.3f} {kind} {what}", file=log, flush=True)

    tenant = post("/tenants", {"name": "Kept", "realm": "kept.ringdown.invalid"})["id"]
    acknowledged("tenant", time.time(), tenant)
    post(f"/tenants/{tenant}/skills", {"name": "nobody-has-it"})
    number = 0
    while True:
        number += 1
        asked = time.time()
        post(f"/tenants/{tenant}/skills", {"name": f"skill-{number}"})
        acknowledged("skill", asked, f"skill-{number}")
        asked = time.time()
        made = post_when_known(f"/tenants/{tenant}/interactions", {"requirements": [{"skill": "nobody-has-it"}]})
        acknowledged("interaction", asked, made["id"])
        time.sleep(0.2)


with open(sys.argv[1], "a") as file:
    main(file)
