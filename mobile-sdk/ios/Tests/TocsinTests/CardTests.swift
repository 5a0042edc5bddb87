import Foundation
import Testing
import TocsinTesting

@testable import Tocsin

/// What stands on the lock screen.
@Suite(.timeLimit(.minutes(1))) struct Cards {
    let desk = Desk()

    /// The cards that were shown, in order.
    private actor Screen {
        var cards: [Card] = []
        var otherwise: [Card?] = []

        func show(_ card: Card, _ otherwise: Card?) {
            cards.append(card)
            self.otherwise.append(otherwise)
        }
    }

    @Test func onlyAcknowledgingWorksLocked() throws {
        let categories = CardCategory.all()
        #expect(categories.map(\.id) == ["TOCSIN_PAGE", "TOCSIN_PAGE_REDACTED", "TOCSIN_PAGE_OBSERVE", "TOCSIN_SHIFT"])
        for category in categories.prefix(2) {
            #expect(category.buttons.map(\.verb) == [.acknowledge, .escalate, .resolve])
            #expect(category.buttons.map(\.needsUnlock) == [false, true, true])
            for button in category.buttons { #expect(CardButton.verb(button.id) == button.verb) }
        }
        #expect(categories.dropFirst(2).flatMap(\.buttons) == [])
        #expect(CardButton.verb("com.apple.UNNotificationDefaultActionIdentifier") == nil)
    }

    @Test func acknowledgedOnTheLockScreen() async throws {
        desk.server.on("/v1/push/actions", [.unreachable, .answer(200, acknowledged.replacingOccurrences(of: #""holderIsCaller":true"#, with: #""holderIsCaller":false"#))])
        let screen = Screen()
        let phone = try desk.enrolled()
        async let done: Void = phone.act(.acknowledge, on: page()) { await screen.show($0, $1) }
        await desk.clock.pass(1)
        await done
        #expect(await screen.cards.map(\.title) == ["Acknowledging…", "Acknowledged"])
        #expect(await screen.cards.last?.body == "by Ann Archer")
        // Had the app ended in between, the system would have said so.
        #expect(await screen.otherwise.map { $0?.title } == ["Not acknowledged", nil])
        #expect(await screen.cards.allSatisfy { !$0.sounds })
    }

    @Test func lostOnTheLockScreen() async throws {
        desk.server.on("/v1/push/actions", [.unreachable])
        let screen = Screen()
        let phone = try desk.enrolled()
        async let done: Void = phone.act(.acknowledge, on: page()) { await screen.show($0, $1) }
        #expect(await eventually { await screen.cards.count == 1 })
        for second in 1...25 {
            desk.clock.jump(1)
            if second == 15 { #expect(await eventually { await screen.cards.count == 2 }) }
            try await Task.sleep(nanoseconds: 10_000_000)
        }
        await done
        #expect(await screen.cards.map(\.title) == ["Acknowledging…", "Not acknowledged"])
        #expect(await screen.cards.last?.sounds == true)
        // What the system is given to send in the background is the same tap.
        let calls = await phone.leftovers()
        #expect(calls.map(\.url?.path) == ["/v1/push/actions"])
        let ids = Set(try desk.server.heard("/v1/push/actions").map { try JSON($0.body)["actionId"].string })
        #expect(try ids == [JSON(try #require(calls.first?.httpBody))["actionId"].string])
        #expect(calls.first?.value(forHTTPHeaderField: "Authorization") == "Bearer tcd_secret")
    }

    @Test func aReportThatDidNotGetOutIsLeftOver() async throws {
        desk.server.on("/v1/push/receipts", [.unreachable])
        let phone = try desk.enrolled()
        #expect(await phone.leftovers().isEmpty)
        _ = await phone.present(page())
        let calls = await phone.leftovers()
        #expect(calls.map(\.url?.path) == ["/v1/push/receipts"])
        #expect(try JSON(try #require(calls.first?.httpBody))["receipts"].array.count == 1)
        desk.secrets.isLocked = true
        #expect(await phone.leftovers().isEmpty)
    }
}
