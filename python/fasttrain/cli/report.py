"""`fasttrain report RUN`: one self-contained HTML page; `--serve` while it runs."""

import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated

import typer

from fasttrain.cli.options import RunArgument, reopen
from fasttrain.formats.run_folder import RunFolder

_LINKED = re.compile(r"/(datasheet\.(md|json)|removals/r-\w+\.md)")


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("report")(report)


def report(
    run: RunArgument,
    serve: Annotated[
        int | None, typer.Option("--serve", metavar="PORT", help="Serve it on localhost, made anew at each load.")
    ] = None,
) -> None:
    """Write RUN/report.html from whatever the run folder holds: data, decisions, training, evaluation."""
    from fasttrain.report import page

    session = reopen(run)
    if not session.world.is_root:
        return
    path = page.build(session.folder)
    typer.echo(f"report: {path}")
    if serve is not None:
        with make_server(session.folder, serve) as server:
            typer.echo(f"serving http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)")
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                typer.echo("stopped")


def make_server(folder: RunFolder, port: int) -> ThreadingHTTPServer:
    """An HTTP server on localhost that builds the page at each request for `/` and gives the files that it links to.

    Port 0 takes a free one.
    """
    from fasttrain.report import page

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            linked = folder.root / self.path[1:]
            if self.path == "/":
                body, kind = page.build(folder).read_bytes(), "html"
            elif _LINKED.fullmatch(self.path) and linked.is_file():
                body, kind = linked.read_bytes(), "plain"
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", f"text/{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return  # requests are not the user's business

    return ThreadingHTTPServer(("127.0.0.1", port), Page)
