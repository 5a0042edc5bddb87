import Foundation
import Testing
import TocsinTesting

@testable import Tocsin

/// What a person is told of a tap: only the server's word makes it "acknowledged".
@Suite(.timeLimit(.minutes(1))) struct Taps {
    let desk = Desk()

    @Test func confirmedByTheServer() async throws {
        desk.server.on("/v1/push/actions", [.answer(200, acknowledged)])
        let told = try await desk.enrolled().actions.tap(.acknowledge, on: page()).first(9)
        #expect(told.first == .sending(kept: true))
        let answer = try #require(told.last?.answer)
        #expect(answer.outcome == .done && answer.holderIsCaller && answer.number == 42)
        #expect(told.count == 2)
        #expect(desk.storage.names(beginning: "tap-").isEmpty)
        let body = try JSON(try #require(desk.server.heard("/v1/push/actions").first).body)
        #expect(body["verb"] == "VERB_ACKNOWLEDGE")
        #expect(body["deliveryId"].string == page().deliveryID)
        #expect(body["actionToken"].isNull)
    }

    @Test func wordsOfTheCard() {
        let error = PhoneError(.retry, PhoneError.noAnswer, "")
        #expect(Card(.acknowledge, .sending(kept: true)).title == "Acknowledging…")
        #expect(Card(.acknowledge, .waiting(error)).title == "Acknowledging…")
        #expect(Card(.acknowledge, .unconfirmed).title == "Not acknowledged")
        #expect(Card(.acknowledge, .unconfirmed).sounds)
        #expect(Card(.acknowledge, .expired).sounds)
        #expect(Card(.acknowledge, .refused(error)).title == "Not acknowledged")
        #expect(Card(.acknowledge, .refused(PhoneError(.deny, "X", ""))).body == "Your role does not allow it.")
    }

    @Test func cardOfAnEscalation() throws {
        let answer = #"{"outcome":"OUTCOME_DONE","state":"STATE_TRIGGERED","changed":true,"holder":"Cy Cook","number":"42"}"#
        let card = Card(.escalate, .confirmed(try #require(TapAnswer(try JSON(Data(answer.utf8))))))
        #expect(card.title == "Triggered" && card.body == "it is Cy Cook's turn" && !card.sounds)
    }

    @Test func cardOfATest() throws {
        let answer = #"{"outcome":"OUTCOME_DONE","state":"STATE_UNSPECIFIED","changed":true,"holder":"","number":"0"}"#
        #expect(Card(.acknowledge, .confirmed(try #require(TapAnswer(try JSON(Data(answer.utf8)))))).title == "Heard")
    }

    @Test func insideTheAppSomebodyWasFaster() async throws {
        let taken = #"{"name":"incidents/a","state":"STATE_ACKNOWLEDGED","revision":"8","acknowledgements":[{"user":"users/ben","displayName":"Ben Baker"},{"user":"users/ann","displayName":"Ann Archer"}]}"#
        desk.server.on(":acknowledge", [.answer(200, taken)])
        let told = try await desk.enrolled().actions.tap(.acknowledge, on: Incident(["name": "incidents/a"])).first(9)
        let answer = try #require(told.last?.answer)
        #expect(answer.outcome == .already && !answer.changed && answer.holder == "Ben Baker" && !answer.holderIsCaller)
    }

    @Test func aLongNoteCostsNoTap() async throws {
        desk.server.on("/v1/push/actions", [.answer(200, acknowledged)])
        _ = try await desk.enrolled().actions.tap(.acknowledge, on: page(), note: String(repeating: "é", count: 5_000)).first(9)
        #expect(try JSON(try #require(desk.server.heard("/v1/push/actions").first).body)["note"].string.count == 1_024)
    }

    @Test func notAcknowledgedAfterFifteenSeconds() async throws {
        desk.server.on("/v1/push/actions", [.silence])
        var told = try await desk.enrolled().actions.tap(.acknowledge, on: page()).makeAsyncIterator()
        #expect(await told.next() == .sending(kept: true))
        await desk.clock.pass(10) // the call has taken too long
        let error = try #require(await told.next()?.waitsFor)
        #expect(error.remedy == .retry)
        #expect(await eventually { desk.server.heard("/v1/push/actions").count == 1 })
        await desk.clock.pass(5)
        #expect(await told.next() == .unconfirmed)
        desk.server.on("/v1/push/actions", [.answer(200, acknowledged)])
        await desk.clock.pass(10)
        #expect(await told.next()?.answer != nil)
    }

    @Test func doubleTapIsOne() async throws {
        desk.server.on("/v1/push/actions", [.unreachable, .answer(200, acknowledged)])
        let phone = try desk.enrolled()
        let first = await phone.actions.tap(.acknowledge, on: page())
        let second = await phone.actions.tap(.acknowledge, on: page())
        #expect(await phone.actions.pending.count == 1)
        async let one = first.first(9), two = second.first(9)
        await desk.clock.pass(1)
        #expect(await one.last == two.last)
        let ids = Set(try desk.server.heard("/v1/push/actions").map { try JSON($0.body)["actionId"].string })
        #expect(ids.count == 1)
        #expect(desk.server.heard("/v1/push/actions").count == 2)
    }

    @Test func keptOverDeath() async throws {
        desk.server.on("/v1/push/actions", [.silence])
        do {
            let phone = try desk.enrolled()
            _ = await phone.actions.tap(.acknowledge, on: page())
        }
        #expect(desk.storage.names(beginning: "tap-").count == 1)
        desk.server.on("/v1/push/actions", [.answer(200, acknowledged)])
        let again = desk.phone()
        var told = again.actions.progress.makeAsyncIterator()
        await again.start()
        while let (_, progress) = await told.next(), progress.answer == nil {}
        let ids = Set(try desk.server.heard("/v1/push/actions").map { try JSON($0.body)["actionId"].string })
        #expect(ids.count == 1)
        #expect(desk.storage.names(beginning: "tap-").isEmpty)
    }

    @Test func tornRecordIsForgotten() async throws {
        let phone = try desk.enrolled()
        try desk.storage.write(Data("{\"id\":".utf8), to: "tap-x")
        try desk.storage.write(Data("{\"id\":".utf8), to: "receipt-x")
        await phone.start()
        #expect(await phone.actions.pending.isEmpty)
        #expect(desk.storage.names(beginning: "tap-").isEmpty)
        #expect(await phone.receipts.count == 0)
    }

    @Test func fullDiskIsTold() async throws {
        desk.server.on("/v1/push/actions", [.answer(200, acknowledged)])
        let phone = try desk.enrolled()
        desk.storage.isFull = true
        let told = await phone.actions.tap(.acknowledge, on: page()).first(9)
        #expect(told.first == .sending(kept: false))
        #expect(told.last?.answer != nil)
    }

    @Test func clockAnHourAheadGivesUpNothing() async throws {
        desk.clock.skew = 3_600
        desk.server.on("/v1/push/actions", [.unreachable, .answer(200, acknowledged)])
        var told = try await desk.enrolled().actions.tap(.acknowledge, on: page()).makeAsyncIterator()
        #expect(await told.next() == .sending(kept: true))
        _ = await told.next()
        await desk.clock.pass(1)
        #expect(await told.next()?.answer != nil)
    }

    /// The network comes back, and with it the right time.
    @Test(arguments: [3_600.0, -3_600.0])
    func aClockThatIsSetMeanwhileHoldsNoTapBack(_ set: TimeInterval) async throws {
        desk.server.on("/v1/push/actions", [.unreachable, .answer(200, acknowledged)])
        var told = try await desk.enrolled().actions.tap(.acknowledge, on: page()).makeAsyncIterator()
        #expect(await told.next() == .sending(kept: true))
        #expect(await told.next()?.waitsFor != nil)
        desk.clock.skew = set
        await desk.clock.pass(1)
        #expect(await told.next()?.answer != nil)
    }

    @Test func busyServerIsGivenItsTime() async throws {
        desk.server.on("/v1/push/actions", [refusal(503, 14, "BUSY", retryAfter: 12), .answer(200, acknowledged)])
        var told = try await desk.enrolled().actions.tap(.acknowledge, on: page()).makeAsyncIterator()
        _ = await told.next()
        let error = try #require(await told.next()?.waitsFor)
        #expect(error.remedy == .wait(12))
        await desk.clock.pass(12)
        #expect(await told.next()?.answer != nil)
    }

    @Test(arguments: [
        (200, "<html>sign in to the hotel</html>"), (200, "{}"), (200, #"{"outcome":"OUTCOME_DONE"}"#), (302, ""), (500, "<html>"), (204, ""),
    ])
    func whatIsNoAnswerConfirmsNothing(_ status: Int, _ body: String) async throws {
        desk.server.on("/v1/push/actions", [.answer(status, body)])
        var told = try await desk.enrolled().actions.tap(.acknowledge, on: page()).makeAsyncIterator()
        _ = await told.next()
        let error = try #require(await told.next()?.waitsFor)
        #expect(error.isTemporary)
    }

    @Test func refusedOpensTheApp() async throws {
        desk.server.on("/v1/push/actions", [refusal(403, 7, "UNLOCK_REQUIRED", reopen: true)])
        let told = try await desk.enrolled().actions.tap(.resolve, on: page()).first(9)
        let error = try #require(told.last?.refusal)
        #expect(error.remedy == .openApp && error.requestID == "q1")
        let body = try JSON(try #require(desk.server.heard("/v1/push/actions").first).body)
        #expect(Data(base64Encoded: body["unlockSignature"].string)?.first == 0x30)
    }

    @Test func lockedPhoneResolvesNothing() async throws {
        desk.unlockKey.isLocked = true
        let told = try await desk.enrolled().actions.tap(.resolve, on: page()).first(9)
        let error = try #require(told.last?.refusal)
        #expect(error.remedy == .openApp)
        #expect(desk.server.heard("").isEmpty)
    }

    @Test func beforeTheFirstUnlockThePagesTokenActs() async throws {
        desk.server.on("/v1/push/actions", [.answer(200, acknowledged)])
        let phone = try desk.enrolled()
        desk.secrets.isLocked = true
        _ = await phone.actions.tap(.acknowledge, on: page(more: ["a": "v1.token"])).first(9)
        let call = try #require(desk.server.heard("/v1/push/actions").first)
        #expect(try JSON(call.body)["actionToken"] == "v1.token")
        #expect(call.headers["authorization"] == nil)
    }

    @Test func revokedWhileTapping() async throws {
        desk.server.on("/v1/push/actions", [refusal(401, 16, "CREDENTIAL_INVALID")])
        let phone = try desk.enrolled()
        var out = phone.signedOut.makeAsyncIterator()
        let told = await phone.actions.tap(.acknowledge, on: page()).first(9)
        let error = try #require(told.last?.refusal)
        #expect(error.remedy == .signIn)
        #expect(await out.next()?.reason == "CREDENTIAL_INVALID")
        #expect(phone.session == nil)
        #expect(try desk.secrets.read("credential") == nil)
    }

    @Test func expiresTenMinutesAfterTheDeadline() async throws {
        desk.server.on("/v1/push/actions", [.unreachable])
        let phone = try desk.enrolled()
        var told = await phone.actions.tap(.acknowledge, on: page()).makeAsyncIterator()
        _ = await told.next()
        _ = await told.next()
        desk.clock.jump(1_199)
        await phone.actions.resume()
        #expect(await told.next() == .unconfirmed)
        desk.clock.jump(1)
        await phone.actions.resume()
        #expect(await told.next() == .expired)
        #expect(desk.storage.names(beginning: "tap-").isEmpty)
    }

    @Test func insideTheAppWithTheVersionOnTheScreen() async throws {
        let incident = Incident([
            "name": "incidents/a", "state": "STATE_TRIGGERED", "etag": "\"7\"", "revision": "7", "escalation": ["level": JSON(Int64(2))],
        ])
        desk.server.on(":escalate", [refusal(409, 10, "REVISION_MOVED")])
        let phone = try desk.enrolled()
        let told = await phone.actions.tap(.escalate, on: incident).first(9)
        let error = try #require(told.last?.refusal)
        #expect(error.remedy == .decide)
        let body = try JSON(try #require(desk.server.heard("/v1/incidents/a:escalate").first).body)
        #expect(body["etag"] == "\"7\"" && body["expectedLevel"].int == 2)
        #expect(UUID(uuidString: body["requestId"].string) != nil)
    }

    @Test func signingOutEndsWhatIsUnderWay() async throws {
        desk.server.on("/v1/push/actions", [.unreachable])
        desk.server.on(":revoke", [.unreachable])
        let phone = try desk.enrolled()
        let told = await phone.actions.tap(.acknowledge, on: page())
        #expect(await phone.signOut() == false)
        let error = try #require(await told.first(9).last?.refusal)
        #expect(error.remedy == .signIn)
        #expect(Set(desk.storage.names(beginning: "").keys).isSubset(of: ["install", "clock"]))
    }
}
