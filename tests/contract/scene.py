"""What the tests of bad input play in: Ann and Bob share a channel, a chat and a note; Mallory has nothing."""

SHARED = [{"principal_type": "user", "principal_id": "bob", "permission": "write"}]

RECORDS = {
    "users/ann": {"name": "Ann"},
    "users/bob": {"name": "Bob"},
    "users/mallory": {"name": "Mallory"},
    "channels/c1": {"name": "One", "members": ["ann", "bob"]},
    "chats/chat1": {"user_id": "ann", "title": "Plans", "access_grants": SHARED},
    "notes/n1": {"user_id": "ann", "title": "Note", "data": {"content": {"md": "saved"}}, "access_grants": SHARED},
}


async def prepare(http):
    """Puts the scene into the directory."""
    for path, record in RECORDS.items():
        async with http.put("/api/v1/" + path, json=record) as response:
            assert response.status < 300, f"{path}: {await response.text()}"
