"""`gql` over HTTP and WebSocket (aiohttp and websockets transports), against a running server."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import time
import unittest
from pathlib import Path

from gql import Client, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport
from gql.transport.exceptions import TransportError, TransportQueryError
from gql.transport.websockets import WebsocketsTransport

BASE_URL, TOKEN = os.environ["BASE_URL"], os.environ["TOKEN"]
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
SOCKET_URL = BASE_URL.replace("http", "ws", 1) + "/graphql"

VIEWER = gql("query Viewer { viewer { id email } }")
CREATE = gql(
    "mutation Create($input: CreateProjectInput!) { createProject(input: $input) { project { id } } }"
)
RENAME = gql(
    "mutation Rename($id: ID!, $name: String!) { updateProject(input: {id: $id, name: $name}) { revision } }"
)
EVENTS = gql(
    "subscription Events($id: ID!, $after: Int) {"
    " projectEvents(projectId: $id, afterRevision: $after) { revision kind } }"
)
NEW_PROJECT = {"name": "From Python", "initialPrompt": "You are a helpful assistant...", "config": {}}


def http(token=TOKEN):
    return AIOHTTPTransport(url=BASE_URL + "/graphql", headers={"Authorization": f"Bearer {token}"})


def sockets(token=TOKEN, path="/graphql"):
    """Both transports; one sends the token in a header of the handshake, the other in connection_init."""
    url = BASE_URL.replace("http", "ws", 1) + path
    yield WebsocketsTransport(url=url, headers={"Authorization": f"Bearer {token}"})
    yield AIOHTTPWebsocketsTransport(url=url, init_payload={"Authorization": f"Bearer {token}"})


def with_end(seconds):
    """The tests' token with another end, counted from now."""
    secret = os.environ.get("JWT_SECRET") or Path(os.environ["DATABASE_URL"].removeprefix("sqlite://") + ".secret").read_text().strip()
    head, claims, _ = TOKEN.split(".")
    claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()  # noqa: E731
    text = f"{head}.{encode(json.dumps(claims | {'exp': int(time.time()) + seconds}).encode())}"
    return f"{text}.{encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())}"


async def ask(transport, document, **variables):
    async with Client(transport=transport) as session:
        document.variable_values = variables
        return await session.execute(document)


async def create():
    made = await ask(http(), CREATE, input=NEW_PROJECT)
    return made["createProject"]["project"]["id"]


class Gql(unittest.IsolatedAsyncioTestCase):
    async def test_a_query_and_a_mutation(self):
        for transport in [http(), *sockets(), *sockets(path="/graphql/ws")]:
            answer = await ask(transport, VIEWER)
            self.assertIn("@", answer["viewer"]["email"])
        project = await create()
        for revision, transport in enumerate(sockets(), 2):
            answer = await ask(transport, RENAME, id=project, name=f"Name {revision}")
            self.assertEqual(answer["updateProject"]["revision"], revision)

    async def test_a_subscription_replays_continues_live_and_resumes_after_a_reconnect(self):
        for transport in sockets():
            project = await create()
            heard = []
            after = 0
            for _ in range(2):
                async with Client(transport=transport) as session:
                    EVENTS.variable_values = {"id": project, "after": after}
                    async for event in session.subscribe(EVENTS):
                        heard.append(event["projectEvents"]["revision"])
                        after = heard[-1]
                        if len(heard) % 2 == 0:
                            break
                        await ask(http(), RENAME, id=project, name=f"Name {len(heard)}")
                await ask(http(), RENAME, id=project, name=f"While away {len(heard)}")
            self.assertEqual(heard, [1, 2, 3, 4])

    async def test_errors_have_their_codes(self):
        for transport in [http(), *sockets()]:
            with self.assertRaises(TransportQueryError) as refused:
                await ask(transport, gql("{ nope }"))
            self.assertEqual(refused.exception.errors[0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED")

    async def test_an_invalid_token_is_refused(self):
        # The last character of a signature can have unused bits; one in the middle has none.
        middle = len(TOKEN) - 20
        wrong = TOKEN[:middle] + ("A" if TOKEN[middle] != "A" else "B") + TOKEN[middle + 1 :]
        expired = with_end(-60)
        for transport in [http(wrong), *sockets(wrong), http(expired), *sockets(expired)]:
            with self.assertRaises(Exception) as refused:
                await asyncio.wait_for(ask(transport, VIEWER), 10)
            self.assertNotIsInstance(refused.exception, asyncio.TimeoutError)
            self.assertTrue(isinstance(refused.exception, (TransportError, ConnectionError)) or "4403" in str(refused.exception))


if __name__ == "__main__":
    unittest.main()
