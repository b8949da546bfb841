"""The echo, set up as our server is: `python -m bench.lean_echo_server --response FILE` prints its port as JSON."""

from turnout_server.doors.polling import poll_directly

if __name__ == "__main__":
    # Before grpc is imported.
    poll_directly()
    from bench.echo_server import main

    main(lean=True)
