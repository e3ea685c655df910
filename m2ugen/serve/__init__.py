"""The server: jobs, worker processes, the HTTP interfaces, the page, the client, and the same on Ray Serve.

Requests arrive in ``app`` (``plain`` and ``openai`` are its routes), become Tasks, wait in ``engine`` and are carried
out by ``worker``, which calls the pipeline. What belongs elsewhere: anything about models or music.
"""
