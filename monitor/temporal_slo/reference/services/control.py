"""The endpoints of the services for tests and operators: faults and the list of calls."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import PlainTextResponse

from temporal_slo.reference.services import calls, fault_rules
from temporal_slo.reference.services.books import Books, Db
from temporal_slo.reference.services.calls import Performer, RecordedCalls
from temporal_slo.reference.services.fault_rules import RULES_MAX, ActiveFaults, FaultRule
from temporal_slo.reference.web import problems
from temporal_slo.reference.web.problems import ProblemError
from temporal_slo.reference.web.wire import Empty, Id, Wire

Name = Annotated[Id, Path()]
CALLS_LISTED = 1000


def router(books: Books, performer: Performer) -> APIRouter:
    """Return the endpoints.

    Args:
        books: The books.
        performer: Performs the calls that the faults are about.
    """
    routes = APIRouter(responses=problems.documented(503))

    @routes.put("/faults/{name}", response_model=FaultRule, responses=problems.documented(409, 503))
    async def put_fault(name: Name, rule: FaultRule) -> Response:
        """Make calls fail; a rule of the same name is replaced."""
        await books.run(lambda db: _put(db, name, rule))
        performer.release([name])
        return _json(rule)

    @routes.delete("/faults/{name}", response_model=Empty, responses=problems.documented(404, 503))
    async def delete_fault(name: Name) -> Response:
        """Delete a rule; the calls that it delays go on."""
        deleted = await books.run(lambda db: fault_rules.delete(db, name))
        performer.release(deleted)
        if not deleted:
            raise ProblemError(404, "no fault has this name")
        return _json(Empty())

    @routes.get("/faults", response_model=ActiveFaults)
    async def list_faults() -> Response:
        """List the rules, with the number of calls that each is about and failed."""
        return _json(ActiveFaults(faults=await books.run(fault_rules.active)))

    @routes.delete("/faults", response_model=Empty)
    async def delete_faults() -> Response:
        """Delete all rules."""
        performer.release(await books.run(fault_rules.delete))
        return _json(Empty())

    @routes.get("/calls", response_model=RecordedCalls)
    async def list_calls(
        after: Annotated[int, Query(ge=0, le=2**62)] = 0, limit: Annotated[int, Query(ge=1, le=CALLS_LISTED)] = 1000
    ) -> Response:
        """List calls, oldest first."""
        return _json(await books.run(lambda db: calls.listed(db, after, limit)))

    @routes.get("/healthz", response_class=PlainTextResponse)
    async def healthz(request: Request) -> Response:
        """Return ok while requests are served."""
        del request
        return PlainTextResponse("ok\n")

    return routes


def _put(db: Db, name: str, rule: FaultRule) -> None:
    others = [fault for fault in fault_rules.active(db) if fault.name != name]
    if len(others) >= RULES_MAX:
        raise ProblemError(409, f"there are {RULES_MAX} faults already")
    fault_rules.put(db, name, rule)


def _json(body: Wire) -> Response:
    return Response(body.json_text(), media_type="application/json")
