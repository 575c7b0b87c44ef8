"""
The forms of requests and answers, one module each, into `wire.hub` and out of it.

Every module has `read_request(body, lost)`, `write_request(asked)`, `read_answer(body)` and
`write_answer(answer)`; those of chats also `part(media)`. What a body says that the hub has no
word for is not dropped: its path is added to `lost`, and whoever translates refuses it by name.

One thing may be left out on the way: a prompt-cache mark, where the vendor caches by itself
(OpenAI, Gemini, Mistral). It changes the price of an answer, never the answer. Labels (the name of
a schema, of a document) are kept where there is a place for them. An answer is told as fully as a
dialect can: it has been paid for, and its verbatim body is kept beside it.
"""
