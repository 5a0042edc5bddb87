import Foundation
import Testing
import TocsinTesting

@testable import Tocsin

/// What the notification extension does with a push.
@Suite(.timeLimit(.minutes(1))) struct Paging {
    let desk = Desk()

    private func reports() throws -> [String] {
        try desk.server.heard("/v1/push/receipts").flatMap { call in
            try JSON(call.body)["receipts"].array.map { $0["state"].string + ($0["reason"].text.map { " " + $0 } ?? "") }
        }
    }

    @Test func aPageRings() async throws {
        desk.server.on("/v1/push/receipts", [.answer(200, recorded)])
        let shown = try await desk.enrolled().present(page())
        #expect(shown.arrival == .ring && shown.sounds)
        #expect(shown.title == "CRITICAL Payments")
        #expect(try reports() == ["STATE_RECEIVED"])
        let call = try #require(desk.server.heard("/v1/push/receipts").first)
        #expect(call.headers["authorization"] == "Bearer tcd_secret")
        #expect(try JSON(call.body)["receiptKey"].isNull)
        #expect(desk.storage.names(beginning: "receipt-").isEmpty)
    }

    @Test func aServerThatSaysNothingHoldsThePageForOneAndAHalfSeconds() async throws {
        desk.server.on("/v1/push/receipts", [.silence])
        let phone = try desk.enrolled()
        async let shown = phone.present(page())
        #expect(await desk.clock.pass(1.5))
        #expect(await shown.arrival == .ring)
        #expect(desk.storage.names(beginning: "receipt-").count == 1)
    }

    @Test func theReportStartsBeforeTheTextIsOpened() async throws {
        desk.server.on("/v1/push/receipts", [.answer(200, recorded)])
        let shown = try await desk.enrolled().present(page(more: ["e": "rubbish", "ek": "k1"]))
        #expect(shown.title == "CRITICAL Payments" && shown.sounds)
        #expect(await eventually { (try? reports()) == ["STATE_RECEIVED", "STATE_RECEIVED decrypt"] })
    }

    @Test func beforeTheFirstUnlockThePagesKeyReports() async throws {
        desk.server.on("/v1/push/receipts", [.answer(200, recorded)])
        let phone = try desk.enrolled()
        desk.secrets.isLocked = true
        let shown = await phone.present(page(more: ["e": "rubbish", "ek": "k1"]))
        #expect(shown.sounds)
        #expect(await eventually { (try? reports()) == ["STATE_RECEIVED", "STATE_RECEIVED locked"] })
        for call in desk.server.heard("/v1/push/receipts") {
            #expect(call.headers["authorization"] == nil)
            #expect(try JSON(call.body)["receiptKey"] == "r1.key-of-1")
        }
    }

    @Test func aDuplicateIsReportedAndSilent() async throws {
        desk.server.on("/v1/push/receipts", [.answer(200, recorded)])
        let phone = try desk.enrolled()
        _ = await phone.present(page())
        let again = await desk.phone().present(page())
        #expect(again.arrival == .duplicate && !again.sounds)
        #expect(try reports() == ["STATE_RECEIVED", "STATE_RECEIVED"])
    }

    /// What is shown of a page whose incident the app has read in a newer state.
    private func shownOnceTheAppHasRead(_ state: String) async throws -> Presentation {
        desk.server.on("/v1/push/receipts", [.answer(200, recorded)])
        desk.server.on("/v1/incidents/a", [.answer(200, #"{"name":"incidents/a","state":"\#(state)","revision":"4"}"#)])
        let phone = try desk.enrolled()
        _ = try await phone.incidents.get("incidents/a")
        return await phone.present(page())
    }

    @Test func whatTheAppHasReadMakesAPageStale() async throws {
        let shown = try await shownOnceTheAppHasRead("STATE_ACKNOWLEDGED")
        #expect(shown.arrival == .stale && !shown.sounds)
        #expect(await eventually { (try? reports()) == ["STATE_RECEIVED", "STATE_SUPPRESSED stale"] })
    }

    /// Its alert was repeated while the page was on the way, and the app, which is open, has read that.
    @Test func whatIsTriggeredStillRingsHoweverNewItIs() async throws {
        let shown = try await shownOnceTheAppHasRead("STATE_TRIGGERED")
        #expect(shown.arrival == .ring && shown.sounds)
    }

    @Test func aPageForWhoeverWasSignedInBeforeWakesNobody() async throws {
        let shown = await desk.phone().present(page())
        #expect(shown.arrival == .silent && !shown.sounds)
        #expect(desk.server.heard("").isEmpty)
    }

    /// The phone's clock is wrong and nothing is known of the server's: the answer to the report tells it in time.
    @Test(arguments: [3_600.0, -3_600.0])
    func aClockAnHourOffDecidesNothing(_ skew: TimeInterval) async throws {
        desk.clock.skew = skew
        desk.server.on("/v1/push/receipts", [.answer(200, recorded)])
        let phone = try desk.enrolled()
        #expect(await phone.present(page()).arrival == .ring)
        #expect(abs(phone.serverTime.timeIntervalSince(night)) < 1)
        desk.clock.jump(601)
        let late = #"{"results":[],"serverTime":"2026-03-01T02:10:01Z"}"#
        desk.server.on("/v1/push/receipts", [.answer(200, late)])
        // Another process knows it from the first one.
        let shown = await desk.phone().present(page(2))
        #expect(shown.arrival == .missed && !shown.sounds)
        #expect(await eventually { (try? reports())?.last == "STATE_SUPPRESSED expired" })
    }

    @Test func aSealedTextTakesThePlaceOfTheClearOne() async throws {
        let vector = try #require(Vectors.cases("sealed.json").first)
        let binding = vector["binding"]
        desk.server.on("/v1/push/receipts", [.answer(200, recorded)])
        let phone = desk.phone()
        let session = Session(
            server: URL(string: "https://tocsin.example.com")!, device: "devices/" + binding["device"].string, user: "users/ann", person: "",
            organization: "")
        try phone.account.keep(session, credential: "tcd_secret")
        try desk.secrets.write(
            JSON(.object([
                "current": ["id": binding["key"], "privateKey": vector["private_key"]], "made": JSON(Int64(0)),
            ])).data, to: SealKeys.record)
        let push = try #require(
            Push([
                "aps": ["alert": ["title": "Page", "body": "1 incident needs you"], "sound": "page.caf"],
                "t": [
                    "d": binding["delivery"], "i": binding["incident"], "k": "page", "x": binding["deadline"], "e": vector["sealed"],
                    "ek": binding["key"], "u": "/v1/push/receipts",
                ],
            ]))
        let shown = await phone.present(push)
        #expect(shown.title == "Critical: Checkout API")
        #expect(shown.links.map(\.url.absoluteString) == ["https://wiki.example.com/disk"])
        #expect(phone.text(of: push)?.actionToken.hasPrefix("v1.") == true)
        #expect(try reports() == ["STATE_RECEIVED"])
    }

    @Test func anotherKeyIsMadeWhenItIsAskedFor() async throws {
        desk.server.on("/v1/push/receipts", [.answer(200, recorded)])
        desk.server.on("/v1/devices:register", [.answer(200, #"{"device":{"name":"devices/d7"}}"#)])
        let phone = try desk.enrolled()
        try await phone.register(DeviceProfile(appID: "com.example.oncall", token: Data(repeating: 0xAB, count: 32)))
        _ = await phone.present(page(more: ["m": ["ask": "seal_key"]]))
        #expect(await eventually { desk.server.heard("/v1/devices:register").count == 2 })
        let devices = try desk.server.heard("/v1/devices:register").map { try JSON($0.body)["device"] }
        #expect(devices[0]["sealKey"] != devices[1]["sealKey"])
        #expect(devices[0]["sealKeyId"] != devices[1]["sealKeyId"])
        #expect(devices[0]["address"] == devices[1]["address"] && devices[1]["address"]["value"].string.count == 64)
        #expect(await eventually { desk.storage.names(beginning: "asked-").isEmpty })
    }

    @Test func aKeyThatCouldNotBeToldIsToldLater() async throws {
        desk.server.on("/v1/push/receipts", [.answer(200, recorded)])
        desk.server.on("/v1/devices:register", [.answer(200, #"{"device":{"name":"devices/d7"}}"#), .unreachable, .unreachable, .answer(200, #"{"device":{"name":"devices/d7"}}"#)])
        let phone = try desk.enrolled()
        try await phone.register(DeviceProfile(appID: "com.example.oncall"))
        _ = await phone.present(page(more: ["m": ["ask": "seal_key"]]))
        #expect(await eventually { desk.server.heard("/v1/devices:register").count == 2 })
        await phone.start()
        await phone.start()
        let ids = try desk.server.heard("/v1/devices:register").map { try JSON($0.body)["device"]["sealKeyId"].string }
        #expect(ids.count == 4 && Set(ids.dropFirst()).count == 1 && ids[0] != ids[1])
        #expect(desk.storage.names(beginning: "asked-").isEmpty)
        // And when it is asked for once more, there is another one.
        _ = await phone.present(page(2, more: ["m": ["ask": "seal_key"]]))
        #expect(await eventually { desk.server.heard("/v1/devices:register").count == 5 })
        #expect(try JSON(try #require(desk.server.heard("/v1/devices:register").last).body)["device"]["sealKeyId"].string != ids[3])
    }

    @Test func aHeartbeatIsAnswered() async throws {
        desk.server.on("/v1/push/receipts", [.answer(200, recorded)])
        let phone = try desk.enrolled()
        let beat = try #require(Push(["t": ["d": "0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e10", "k": "heartbeat", "u": "/v1/push/receipts"]]))
        await phone.receive(beat)
        #expect(try reports() == ["STATE_RECEIVED"])
    }

    @Test func aWipeIsForItsOwnDeviceOnly() async throws {
        let phone = try desk.enrolled()
        func wipe(_ device: String) throws -> Push {
            try #require(Push(["t": ["d": "0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e10", "k": "heartbeat", "m": ["wipe": JSON(device)]]]))
        }
        await phone.receive(try wipe("d8"))
        #expect(phone.session != nil)
        await phone.receive(try wipe("d7"))
        #expect(phone.session == nil)
        #expect(try desk.secrets.read("credential") == nil)
    }

    @Test func receiptsThatDidNotGetThroughAreSentByTheNextStart() async throws {
        desk.server.on("/v1/push/receipts", [.unreachable])
        _ = try await desk.enrolled().present(page())
        #expect(desk.storage.names(beginning: "receipt-").count == 1)
        desk.server.on("/v1/push/receipts", [.answer(200, recorded)])
        await desk.phone().start()
        #expect(await eventually { desk.storage.names(beginning: "receipt-").isEmpty })
    }

    @Test func aFullDiskHoldsNoReportBack() async throws {
        desk.server.on("/v1/push/receipts", [.answer(200, recorded)])
        let phone = try desk.enrolled()
        desk.storage.isFull = true
        #expect(await phone.present(page()).sounds)
        #expect(try reports() == ["STATE_RECEIVED"])
    }
}
