import Foundation
import Testing
import TocsinTesting

@testable import Tocsin

/// The library against a real server, through a line that can fail.
@Suite(.serialized, .enabled(if: Sandbox.current != nil), .timeLimit(.minutes(3))) struct RealServer {
    let sandbox: Sandbox

    init() async throws {
        sandbox = try #require(Sandbox.current)
        try await sandbox.line("up")
    }

    /// Ends what a test began: nothing of it is open for the next one.
    private func clean(_ phones: Phone..., incidents: String...) async throws {
        try await sandbox.line("up")
        for incident in incidents { _ = try await sandbox.admin("POST", "/v1/\(incident):resolve", [:]) }
        for phone in phones { #expect(await phone.signOut()) }
    }

    private func acknowledgements(_ incident: String) async throws -> Int {
        try await sandbox.admin("GET", "/v1/\(incident)/timeline")["entries"].array.filter { $0["type"] == "TYPE_ACKNOWLEDGED" }.count
    }

    private func state(of push: Push) async throws -> String {
        let deliveries = try await sandbox.admin("GET", "/v1/\(push.incident)/deliveries")["deliveries"].array
        return deliveries.first { $0["deliveryId"].string == push.deliveryID }?["state"].string ?? ""
    }

    @Test func paged() async throws {
        let handset = try await Handset(sandbox)
        let phone = try handset.start()
        let invitation = try await sandbox.invitation("ann")
        #expect(try await phone.preview(invitation).person == "Ann Archer")
        #expect(try await phone.enrol(invitation, as: handset.profile).organization == "The Sandbox")
        let registration = try await phone.register(handset.profile)
        #expect(!registration.needsConfirmation && registration.device.state == .active)

        let push = try await handset.paged("search", "paged")
        let shown = await phone.present(push)
        #expect(shown.arrival == .ring && shown.sounds == push.audible && shown.title == push.title)
        #expect(try await state(of: push) == "STATE_RECEIVED")
        await phone.opened(push)
        #expect(try await eventually { try await state(of: push) == "STATE_OPENED" })

        let answer = try #require(await phone.actions.tap(.acknowledge, on: push).first(9).last?.answer)
        #expect(answer.outcome == .done && answer.changed && answer.holder == "Ann Archer" && answer.holderIsCaller)
        #expect(try await phone.incidents.get(push.incident).state == .acknowledged)
        let resolved = try #require(await phone.actions.tap(.resolve, on: push).first(9).last?.answer)
        #expect(resolved.state == .resolved)
        #expect(try await phone.incidents.list(.mine).isEmpty)
        try await clean(phone)
    }

    @Test func linkThatIsUsedUp() async throws {
        let handset = try await Handset(sandbox)
        let phone = try handset.start()
        let invitation = try await sandbox.invitation("ann")
        _ = try await phone.enrol(invitation, as: handset.profile)
        await #expect { try await phone.preview(invitation) } throws: { ($0 as? PhoneError)?.remedy == .newLink }
        let other = try await Handset(sandbox).start()
        await #expect { try await other.enrol(invitation, as: handset.profile) } throws: { ($0 as? PhoneError)?.remedy == .newLink }
        #expect(other.session == nil)
        try await clean(phone)
    }

    @Test func acknowledgedWhileOfflineAndKilled() async throws {
        let handset = try await Handset(sandbox)
        let phone = try await handset.enrolled("ann")
        let push = try await handset.paged("search", "offline")
        try await sandbox.line("down")
        var told = await phone.actions.tap(.acknowledge, on: push).makeAsyncIterator()
        #expect(await told.next() == .sending(kept: true))
        #expect(try #require(await told.next()?.waitsFor).reason == PhoneError.noAnswer)
        #expect(try await acknowledgements(push.incident) == 0)

        let again = try handset.start()
        let progress = again.actions.progress
        await again.start()
        try await sandbox.line("up")
        await again.actions.resume()
        for await (_, step) in progress where step.isLast {
            #expect(try #require(step.answer).state == .acknowledged)
            break
        }
        // The first start goes on as well, as it was not really killed: with the same id, which changes nothing.
        while let step = await told.next(), !step.isLast {}
        #expect(try await acknowledgements(push.incident) == 1)
        #expect(try Folder(handset.folder).names(beginning: "tap-").isEmpty)
        try await clean(phone, incidents: push.incident)
    }

    @Test(arguments: ["lost", "error", "silent"])
    func acknowledgedOverABadLine(_ mode: String) async throws {
        let handset = try await Handset(sandbox)
        let phone = try await handset.enrolled("ann")
        let push = try await handset.paged("search", mode)
        try await sandbox.line(mode, path: "/v1/push/actions", times: 1)
        let told = await phone.actions.tap(.acknowledge, on: push).first(9)
        #expect(told.first == .sending(kept: true))
        #expect(told.contains { $0.waitsFor != nil })
        #expect(try #require(told.last?.answer).holderIsCaller)
        #expect(try await acknowledgements(push.incident) == 1)
        try await clean(phone, incidents: push.incident)
    }

    @Test func doubleTap() async throws {
        let handset = try await Handset(sandbox)
        let phone = try await handset.enrolled("ann")
        let push = try await handset.paged("search", "double")
        async let one = phone.actions.tap(.acknowledge, on: push).first(9)
        async let two = phone.actions.tap(.acknowledge, on: push).first(9)
        #expect(await one.last?.answer?.holderIsCaller == true)
        #expect(await two.last?.answer?.holderIsCaller == true)
        #expect(try await acknowledgements(push.incident) == 1)
        try await clean(phone, incidents: push.incident)
    }

    @Test func twoPeopleTapAtOnce() async throws {
        let handsets = (try await Handset(sandbox), try await Handset(sandbox))
        let ann = try await handsets.0.enrolled("ann"), ben = try await handsets.1.enrolled("ben")
        let push = try await handsets.0.paged("payments", "both")
        let his = try await sandbox.push(to: handsets.1.token) { $0.incident == push.incident }
        async let one = ann.actions.tap(.acknowledge, on: push).first(9)
        async let two = ben.actions.tap(.acknowledge, on: his).first(9)
        let answers = [try #require(await one.last?.answer), try #require(await two.last?.answer)]
        // Whoever was first holds it, and both are told the same name.
        #expect(Set(answers.map(\.holder)).count == 1)
        #expect(answers.filter(\.holderIsCaller).count == 1)
        #expect(answers.filter { $0.outcome == .done }.contains { $0.holderIsCaller })
        try await clean(ann, ben, incidents: push.incident)
    }

    @Test(arguments: [3_600.0, -3_600.0])
    func clockAnHourOff(_ skew: TimeInterval) async throws {
        let handset = try await Handset(sandbox, skew: skew)
        let phone = try await handset.enrolled("ann")
        #expect(abs(phone.serverTime.timeIntervalSinceNow) < 2)
        let push = try await handset.paged("search", "clock \(skew)")
        #expect(await phone.present(push).arrival == .ring)
        let answer = try #require(await phone.actions.tap(.acknowledge, on: push).first(9).last?.answer)
        #expect(answer.holderIsCaller)
        #expect(abs(try #require(answer.time).timeIntervalSinceNow) < 10)
        try await clean(phone, incidents: push.incident)
    }

    /// A disk of 64 KiB, which the test fills up: mobile-sdk/ios/test mounts it.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["TOCSIN_SMALL_DISK"]?.isEmpty == false))
    func fullDisk() async throws {
        let disk = URL(fileURLWithPath: try #require(ProcessInfo.processInfo.environment["TOCSIN_SMALL_DISK"]))
        let handset = try await Handset(sandbox, in: disk)
        let phone = try await handset.enrolled("ann")
        let push = try await handset.paged("search", "disk")
        let ballast = disk.appendingPathComponent("ballast")
        #expect(FileManager.default.createFile(atPath: ballast.path, contents: nil))
        let file = try FileHandle(forWritingTo: ballast)
        while (try? file.write(contentsOf: Data(repeating: 1, count: 512))) != nil {}
        try file.close()

        #expect(await phone.present(push).arrival == .ring)
        #expect(try await state(of: push) == "STATE_RECEIVED")
        let told = await phone.actions.tap(.acknowledge, on: push).first(9)
        #expect(told.first == .sending(kept: false))
        #expect(told.last?.answer?.holderIsCaller == true)
        let other = try start(in: disk)
        let invitation = try await sandbox.invitation("ann")
        await #expect { try await other.enrol(invitation, as: handset.profile) } throws: { ($0 as? PhoneError)?.remedy == .freeSpace }
        #expect(try await other.preview(invitation).person == "Ann Archer") // it is not used up
        try FileManager.default.removeItem(at: ballast)
        try await clean(phone, incidents: push.incident)
    }

    private func start(in disk: URL) throws -> Phone {
        Phone(app: "com.example.oncall/1.0", storage: try Folder(disk), secrets: MemorySecrets(), crypto: TestCrypto())
    }

    @Test func revoked() async throws {
        let handset = try await Handset(sandbox)
        let phone = try await handset.enrolled("ann")
        let push = try await handset.paged("search", "revoked")
        var out = phone.signedOut.makeAsyncIterator()
        try await sandbox.revoke(try #require(phone.session).device)
        #expect(try await eventually {
            do {
                _ = try await phone.device()
                return false
            } catch let error as PhoneError {
                return error.remedy == .signIn
            }
        })
        #expect(await out.next()?.reason == "CREDENTIAL_INVALID")
        #expect(phone.session == nil)
        #expect(try #require(await phone.actions.tap(.acknowledge, on: push).first(9).last?.refusal).remedy == .signIn)
        #expect(try Set(Folder(handset.folder).names(beginning: "").keys).isSubset(of: ["install", "clock"]))
        #expect(try await acknowledgements(push.incident) == 0)
        try await clean(incidents: push.incident)
    }

    @Test func testPush() async throws {
        let handset = try await Handset(sandbox)
        let phone = try await handset.enrolled("ann")
        let test = try await phone.sendTest()
        let states = phone.watch(test)
        let push = try await sandbox.push(to: handset.token) { $0.deliveryID == test.deliveryID }
        #expect(push.kind == .test && !push.offersAcknowledge)
        #expect(await phone.present(push).sounds)
        for await state in states where state.state == "received" { break }
        #expect(try await phone.confirm(test, heard: true).verdict == .passed)
        #expect(try await phone.device().lastTestPassed)

        // The button on the card says the same.
        let second = try await phone.sendTest()
        let card = try await sandbox.push(to: handset.token) { $0.deliveryID == second.deliveryID }
        #expect(TestPush(of: card)?.name == second.name)
        _ = await phone.present(card)
        #expect(try #require(await phone.actions.tap(.acknowledge, on: card).first(9).last?.answer).isOfTest)
        var verdict: TestPush.Verdict?
        for await state in phone.watch(second) { verdict = state.verdict ?? verdict }
        #expect(verdict == .passed)
        try await clean(phone)
    }

    @Test func sealedPage() async throws {
        let handset = try await Handset(sandbox)
        let phone = try await handset.enrolled("ben")
        _ = try await sandbox.admin("PATCH", "/v1/users/ben", ["privacy": "PRIVACY_SEALED"])
        let push = try await handset.paged("payments", "sealed")
        #expect(!push.sealed.isEmpty && !push.body.contains("sealed") && push.severity.isEmpty)
        let shown = await phone.present(push)
        #expect(shown.body.contains("sealed") || shown.subtitle.contains("sealed"))
        #expect(phone.text(of: push)?.body == shown.body)
        _ = try await sandbox.admin("PATCH", "/v1/users/ben", ["privacy": "PRIVACY_FULL"])
        try await clean(phone, incidents: push.incident)
    }

    @Test func watchOverInterruptions() async throws {
        let handset = try await Handset(sandbox)
        let phone = try await handset.enrolled("ann")
        var updates = phone.incidents.watch(.mine).makeAsyncIterator()
        guard case .listed(let none) = await updates.next() else { throw PhoneError(.retry, "TEST", "it does not begin with a list") }
        #expect(none.isEmpty)
        func change() async -> Incident? {
            while let update = await updates.next() {
                if case .changed(let incident) = update { return incident }
            }
            return nil
        }
        let keys = (UUID().uuidString, UUID().uuidString)
        try await sandbox.alert("search", keys.0)
        let first = try #require(await change())
        #expect(first.state == .triggered && first.assignees.first?.displayName == "Ann Archer")

        try await sandbox.line("down")
        try await sandbox.alert("search", keys.0, "resolve")
        try await sandbox.alert("search", keys.1)
        try await sandbox.line("up")
        var seen: [String: Incident.State] = [:]
        while seen[first.name] != .resolved || !seen.values.contains(.triggered), let next = await change() { seen[next.name] = next.state }
        #expect(seen.count == 2)

        try await sandbox.restart()
        try await sandbox.alert("search", keys.1, "resolve")
        while let next = await change(), next.state != .resolved {}
        try await clean(phone)
    }

    /// From the push to the server's having the receipt, and from the tap on a card to the server's word, over loopback.
    @Test func howLongItTakes() async throws {
        let handset = try await Handset(sandbox)
        let phone = try await handset.enrolled("ann")
        var reports: [Double] = [], taps: [Double] = []
        for i in 0..<20 {
            let push = try await handset.paged("search", "time \(i)")
            reports.append(await milliseconds { _ = await phone.present(push) })
            var told: [TapProgress] = []
            taps.append(await milliseconds { told = await phone.actions.tap(.acknowledge, on: push).first(9) })
            #expect(told.last?.answer?.changed == true)
            _ = try await sandbox.admin("POST", "/v1/\(push.incident):resolve", [:])
        }
        for (name, took) in [("ios_push_to_receipt_ms", reports.sorted()), ("ios_tap_to_server_ms", taps.sorted())] {
            print("figure: \(name) median \(Int(took[took.count / 2])) max \(Int(took[took.count - 1])) n \(took.count)")
            #expect(took[took.count - 1] < 1_000)
        }
        try await clean(phone)
    }

    private func milliseconds(_ work: () async -> Void) async -> Double {
        let (seconds, attoseconds) = await ContinuousClock().measure(work).components
        return Double(seconds) * 1_000 + Double(attoseconds) / 1e15
    }
}
