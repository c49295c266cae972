"""`fasttrain report RUN`: one self-contained HTML page; `--serve` while it runs."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated

import typer

from fasttrain.cli.options import RunArgument, reopen
from fasttrain.formats.run_folder import RunFolder


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
    """An HTTP server on localhost that builds the page at each request for `/`; port 0 takes a free one."""
    from fasttrain.report import page

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/":
                self.send_error(404)
                return
            body = page.build(folder).read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return  # requests are not the user's business

    return ThreadingHTTPServer(("127.0.0.1", port), Page)
