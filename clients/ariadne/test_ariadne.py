"""A client that `ariadne-codegen` makes of the schema (pydantic, httpx, websockets), against a running server."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
import warnings
from pathlib import Path

BASE_URL, TOKEN = os.environ["BASE_URL"], os.environ["TOKEN"]
OWN = Path(__file__).parent

FOLDER = tempfile.TemporaryDirectory()
CONFIG = f"""
[tool.ariadne-codegen]
schema_path = "{OWN.parent.parent / "schema.graphql"}"
queries_path = "{OWN / "queries.graphql"}"
target_package_path = "{FOLDER.name}"
target_package_name = "antiphon_client"
"""
(Path(FOLDER.name) / "pyproject.toml").write_text(CONFIG)
subprocess.run([Path(sys.executable).parent / "ariadne-codegen"], cwd=FOLDER.name, check=True, stdout=subprocess.DEVNULL)
sys.path.insert(0, FOLDER.name)

from antiphon_client import Client, CreateProjectInput, EventKind  # noqa: E402
from antiphon_client.exceptions import GraphQLClientGraphQLMultiError, GraphQLClientHttpError  # noqa: E402


def client(token=TOKEN):
    credentials = {"Authorization": f"Bearer {token}"}
    url = BASE_URL + "/graphql"
    return Client(url=url, headers=credentials, ws_url=url.replace("http", "ws", 1), ws_connection_init_payload=credentials)


def with_end(seconds):
    """The tests' token with another end, counted from now."""
    secret = os.environ.get("JWT_SECRET") or Path(os.environ["DATABASE_URL"].removeprefix("sqlite://") + ".secret").read_text().strip()
    head, claims, _ = TOKEN.split(".")
    claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()  # noqa: E731
    text = f"{head}.{encode(json.dumps(claims | {'exp': int(time.time()) + seconds}).encode())}"
    return f"{text}.{encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())}"


async def create():
    made = await client().create_project(CreateProjectInput(name="From Python", initial_prompt="p", config={"a": [1, 2.5]}))
    return made.create_project.project


class Ariadne(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        # A client is made for each call, and its connections are closed with the process.
        warnings.simplefilter("ignore", ResourceWarning)

    async def test_a_query_and_a_mutation(self):
        self.assertIn("@", (await client().viewer()).viewer.email)
        project = await create()
        self.assertEqual((project.name, project.config), ("From Python", {"a": [1, 2.5]}))
        self.assertEqual((await client().rename(project.id, "Renamed")).update_project.revision, 2)

    async def test_a_subscription_receives_the_past_and_the_present_and_goes_on_after_a_reconnect(self):
        project = await create()
        received = []
        for _ in range(2):
            events = client().events(project.id, after=received[-1][0] if received else 0)
            async for event in events:
                event = event.project_events
                received.append((event.revision, event.kind))
                if len(received) % 2 == 0:
                    break
                await client().rename(project.id, f"Name {len(received)}")
            await events.aclose()
            await client().rename(project.id, f"While away {len(received)}")
        self.assertEqual([revision for revision, _ in received], [1, 2, 3, 4])
        self.assertEqual({kind for _, kind in received[1:]}, {EventKind.PROJECT_UPDATED})

    async def test_errors_have_their_codes(self):
        with self.assertRaises(GraphQLClientGraphQLMultiError) as refused:
            await client().rename("0192f3a4-5b6c-7d8e-9f00-112233445566", "None")
        self.assertEqual(refused.exception.errors[0].extensions["code"], "NOT_FOUND")

    async def test_a_wrong_and_an_expired_token_are_refused(self):
        for token in ["no.such.token", with_end(-60)]:
            with self.assertRaises(GraphQLClientHttpError) as refused:
                await client(token).viewer()
            self.assertEqual(refused.exception.status_code, 401)
            with self.assertRaises(Exception) as refused:
                await asyncio.wait_for(anext(client(token).events("0192f3a4-5b6c-7d8e-9f00-112233445566")), 10)
            self.assertIn("4403", str(refused.exception))
        self.assertIn("@", (await client(with_end(60)).viewer()).viewer.email)


if __name__ == "__main__":
    unittest.main()
