import Foundation
import Testing
import TocsinTesting

@testable import Tocsin

@Suite(.timeLimit(.minutes(1))) struct Watching {
    let desk = Desk()

    private func list(_ revision: Int, cursor: String) -> PretendServer.Reply {
        .answer(200, #"{"incidents":[{"name":"incidents/a","state":"STATE_TRIGGERED","revision":"\#(revision)"}],"watchCursor":"\#(cursor)"}"#)
    }

    private func change(_ revision: Int, cursor: String) -> String {
        "id: \(cursor)\nevent: change\ndata: {\"kind\":\"KIND_CHANGE\",\"incident\":{\"name\":\"incidents/a\",\"revision\":\"\(revision)\"},\"cursor\":\"\(cursor)\"}\n\n"
    }

    private func says(_ update: IncidentUpdate?) -> String {
        switch update {
        case .listed(let incidents): return "listed " + incidents.map { "\($0.revision)" }.joined(separator: ",")
        case .changed(let incident): return "changed \(incident.revision)"
        case .live: return "live"
        case .interrupted(let error): return "interrupted \(error.reason)"
        case nil: return "end"
        }
    }

    @Test func goesOnWhereItWas() async throws {
        desk.server.on("/v1/incidents", [list(3, cursor: "c3")])
        desk.server.on("/v1/incidents:watch", [
            // A change that is in the list already, one that comes twice, and a heartbeat that moves the cursor.
            .events([change(3, cursor: "c3"), change(4, cursor: "c4"), change(4, cursor: "c4"), "id: c5\nevent: heartbeat\ndata: {}\n\n"], ends: true),
            .events([change(5, cursor: "c6")], ends: false),
        ])
        var updates = try desk.enrolled().incidents.watch().makeAsyncIterator()
        var said: [String] = []
        for _ in 0..<4 { said.append(says(await updates.next())) }
        #expect(said == ["listed 3", "changed 4", "live", "interrupted NO_ANSWER"])
        await desk.clock.pass(1)
        #expect(says(await updates.next()) == "changed 5")
        #expect(desk.server.heard("/v1/incidents:watch").map { $0.headers["last-event-id"] } == ["c3", "c5"])
        #expect(desk.server.heard("/v1/incidents").count == 1)
    }

    @Test func listsAgainAfterADayAway() async throws {
        desk.server.on("/v1/incidents", [list(3, cursor: "c3"), list(9, cursor: "c9")])
        desk.server.on("/v1/incidents:watch", [refusal(400, 11, "CURSOR_TOO_OLD"), .events([change(10, cursor: "c10")], ends: false)])
        var updates = try desk.enrolled().incidents.watch().makeAsyncIterator()
        #expect(says(await updates.next()) == "listed 3")
        #expect(says(await updates.next()) == "listed 9")
        #expect(says(await updates.next()) == "changed 10")
        #expect(desk.server.heard("/v1/incidents:watch").map { $0.headers["last-event-id"] } == ["c3", "c9"])
    }

    @Test func comesBackWhenTheServerDrains() async throws {
        let draining =
            #"event: error"# + "\n"
            + #"data: {"code":14,"message":"x","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"SERVER_DRAINING"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2s"}]}"#
            + "\n\n"
        desk.server.on("/v1/incidents", [list(3, cursor: "c3")])
        desk.server.on("/v1/incidents:watch", [.events([draining], ends: true), .events([change(4, cursor: "c4")], ends: false)])
        var updates = try desk.enrolled().incidents.watch().makeAsyncIterator()
        _ = await updates.next()
        #expect(says(await updates.next()) == "interrupted SERVER_DRAINING")
        await desk.clock.pass(2)
        #expect(says(await updates.next()) == "changed 4")
    }

    @Test func aSilentLineIsGivenUp() async throws {
        desk.server.on("/v1/incidents", [list(3, cursor: "c3")])
        desk.server.on("/v1/incidents:watch", [.events([], ends: false), .events([change(4, cursor: "c4")], ends: false)])
        var updates = try desk.enrolled().incidents.watch().makeAsyncIterator()
        _ = await updates.next()
        #expect(await eventually { desk.server.heard("/v1/incidents:watch").count == 1 })
        await desk.clock.pass(40)
        #expect(says(await updates.next()) == "interrupted NO_ANSWER")
        await desk.clock.pass(1)
        #expect(says(await updates.next()) == "changed 4")
    }

    @Test func aPageOfAProxyIsNoStream() async throws {
        desk.server.on("/v1/incidents", [list(3, cursor: "c3")])
        desk.server.on("/v1/incidents:watch", [.answer(200, "<html>")])
        var updates = try desk.enrolled().incidents.watch().makeAsyncIterator()
        _ = await updates.next()
        #expect(says(await updates.next()) == "interrupted ANSWER_UNREADABLE")
    }

    @Test func endsWhenThePersonIsSignedOut() async throws {
        desk.server.on("/v1/incidents", [list(3, cursor: "c3")])
        desk.server.on("/v1/incidents:watch", [refusal(401, 16, "CREDENTIAL_INVALID")])
        let phone = try desk.enrolled()
        var updates = phone.incidents.watch().makeAsyncIterator()
        _ = await updates.next()
        #expect(says(await updates.next()) == "interrupted CREDENTIAL_INVALID")
        #expect(says(await updates.next()) == "end")
        #expect(phone.session == nil)
    }

    @Test func readsAllPagesOfAList() async throws {
        desk.server.on("/v1/incidents") { call in
            call.query.contains("pageToken=p2")
                ? .answer(200, #"{"incidents":[{"name":"incidents/b"}],"watchCursor":"late"}"#)
                : .answer(200, #"{"incidents":[{"name":"incidents/a"}],"nextPageToken":"p2","watchCursor":"c1"}"#)
        }
        desk.server.on("/v1/incidents:watch", [.events([], ends: false)])
        let phone = try desk.enrolled()
        #expect(try await phone.incidents.list(.mine).map(\.name) == ["incidents/a", "incidents/b"])
        #expect(desk.server.heard("/v1/incidents").first?.query.contains("assignees=users%2Fme") == true)
        var updates = phone.incidents.watch().makeAsyncIterator()
        _ = await updates.next()
        #expect(await eventually { desk.server.heard("/v1/incidents:watch").first?.headers["last-event-id"] == "c1" })
    }
}
