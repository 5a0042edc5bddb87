import Foundation
import Testing
import TocsinTesting

@testable import Tocsin

@Suite struct Payloads {
    @Test(arguments: Vectors.cases("payloads.json", where: "platform", is: "ios"))
    func pushIsRead(_ vector: Vector) throws {
        let push = try #require(Push(payload: vector["payload"].data))
        let want = vector["want"]
        #expect(push.kind.rawValue == want["kind"].string)
        #expect(push.deliveryID == want["delivery_id"].string)
        #expect(push.incidentID == want["incident_id"].string)
        #expect(push.number == want["number"].int)
        #expect(push.revision == want["revision"].int)
        #expect(push.severity == want["severity"].string)
        #expect(push.title == want["title"].string)
        #expect(push.subtitle == want["subtitle"].string)
        #expect(push.body == want["body"].string)
        #expect(push.expires == want["expire_time"].date)
        #expect(push.receiptPath == want["receipt_path"].string)
        #expect(push.receiptKey == want["receipt_key"].string)
        #expect(push.actionToken == want["action_token"].string)
        #expect(push.audible == want["audible"].bool)
        #expect(push.critical == want["critical"].bool)
        #expect(push.offersAcknowledge == want["offers_acknowledge"].bool)
        #expect(push.sealed == want["sealed"].string)
        #expect(push.sealedKey == want["sealed_key"].string)
    }

    @Test func userInfoIsReadAsThePayloadIs() throws {
        let vector = try #require(Vectors.cases("payloads.json").first)
        let info = try #require(try JSONSerialization.jsonObject(with: vector["payload"].data) as? [AnyHashable: Any])
        #expect(Push(info) == Push(payload: vector["payload"].data))
    }

    @Test(arguments: [
        "{}", "[]", "null", "rubbish", #"{"aps":{"alert":"hello"}}"#, #"{"t":{}}"#, #"{"t":{"d":"../../session","k":"page"}}"#,
        #"{"t":{"d":"0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e10","k":"page","i":"../x"}}"#, #"{"t":{"d":7,"k":[]}}"#,
    ])
    func whatIsNoPushIsNone(_ payload: String) {
        #expect(Push(payload: Data(payload.utf8)) == nil)
    }

    @Test func aKindOfALaterVersionIsShown() throws {
        let push = try #require(Push(payload: Data(#"{"aps":{"alert":"hello","sound":"x"},"t":{"d":"0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e10","k":"song","z":1}}"#.utf8)))
        #expect(push.kind == .unknown)
        #expect(push.body == "hello")
        #expect(!push.offersAcknowledge)
    }
}

@Suite struct Replays {
    @Test(arguments: Vectors.cases("replays.json"))
    func pushesInTheirOrder(_ vector: Vector) throws {
        let storage = MemoryStorage()
        for arrival in vector["arrivals"].array {
            let at = try #require(arrival["at"].date)
            let expires = try #require(arrival["expires"].date)
            let system = ManualClock(at).phone
            // A process of its own for each: nothing is remembered but what is stored.
            let arrivals = Arrivals(storage: storage, clock: ServerClock(system: system, storage: storage), system: system)
            let push = try #require(
                Push([
                    "t": [
                        "d": arrival["delivery_id"], "k": arrival["kind"], "i": arrival["incident_id"], "r": arrival["revision"],
                        "x": JSON(Int64(expires.timeIntervalSince1970)),
                    ]
                ]))
            #expect(arrivals.judge(push).rawValue == arrival["want"].string)
        }
    }

    @Test func aFullDiskSilencesNothing() throws {
        let storage = MemoryStorage()
        storage.isFull = true
        let arrivals = Arrivals(storage: storage, clock: ServerClock(system: .system, storage: storage), system: .system)
        let push = try #require(Push(["t": ["d": "0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e10", "k": "page", "i": "a", "r": JSON(Int64(3))]]))
        #expect(arrivals.judge(push) == .ring)
        #expect(arrivals.judge(push) == .ring)
    }
}

@Suite struct Sealed {
    @Test(arguments: Vectors.cases("sealed.json"))
    func textOpensOrNot(_ vector: Vector) throws {
        let binding = SealBinding(
            delivery: vector["binding"]["delivery"].string, incident: vector["binding"]["incident"].string,
            device: vector["binding"]["device"].string, key: vector["binding"]["key"].string, deadline: vector["binding"]["deadline"].int)
        #expect(binding.bytes.base64EncodedString() == vector["aad"].string)
        let key = SealKey(id: binding.key, privateKey: try #require(Data(base64Encoded: vector["private_key"].string)))
        #expect(try TestCrypto().publicKey(of: key.privateKey).base64EncodedString() == vector["public_key"].string)
        if vector["opens"].bool {
            let text = try key.open(vector["sealed"].string, binding, TestCrypto())
            #expect(String(decoding: text, as: UTF8.self) == vector["text"].string)
        } else {
            #expect(throws: (any Error).self) { try key.open(vector["sealed"].string, binding, TestCrypto()) }
        }
    }

    @Test func primitivesOfTheTestsAreRight() throws {
        func hex(_ data: Data) -> String { data.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined() }
        // FIPS 180-2, B.1; RFC 4231, 2; RFC 5869, A.1.
        #expect(hex(SHA256.hash(Data("abc".utf8))) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(hex(SHA256.hmac(key: Data("Jefe".utf8), Data("what do ya want for nothing?".utf8))) == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        let crypto = TestCrypto()
        let key = crypto.extract(salt: Data(0...12), Data(repeating: 0x0b, count: 22))
        #expect(hex(crypto.expand(key, info: Data(0xf0...0xf9), count: 42)) == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
    }

    @Test func theKeyBeforeOpensForAnHour() throws {
        let clock = ManualClock(Date(timeIntervalSince1970: 1_772_330_400))
        let keys = SealKeys(secrets: MemorySecrets(), crypto: TestCrypto(), system: clock.phone)
        let first = try keys.current()
        try keys.rotate()
        let second = try keys.current()
        #expect(first.id != second.id)
        #expect(try keys.key(first.id) != nil)
        clock.jump(3_599)
        #expect(try keys.key(first.id) != nil)
        clock.jump(1)
        #expect(try keys.key(first.id) == nil)
        #expect(try keys.key(second.id) != nil)
    }

    @Test func linksAreOpenedByHTTPSOnly() {
        let text = SealedText([
            "title": "x",
            "links": [
                ["url": "https://wiki.example.com/disk", "text": "Runbook"], ["url": "http://wiki.example.com/"], ["url": "javascript:alert(1)"],
                ["url": "https://ann:secret@wiki.example.com/"], ["url": "tel:112"],
            ],
        ])
        #expect(text.links.map(\.text) == ["Runbook"])
    }
}

@Suite struct Answers {
    /// The words of the vectors for what the app can do.
    private func word(_ remedy: PhoneError.Remedy) -> String {
        switch remedy {
        case .signIn: return "sign_in"
        case .newLink, .fix, .listAgain: return "fix"
        case .openApp: return "open"
        case .deny: return "deny"
        case .refresh: return "refresh"
        case .decide: return "decide"
        case .remove: return "remove"
        case .wait: return "wait"
        case .retry: return "retry"
        case .unlock, .freeSpace: return "never an answer"
        }
    }

    @Test(arguments: Vectors.cases("errors.json") + Vectors.cases("actions.json") + Vectors.cases("receipts.json"))
    func refusalSaysWhatTheAppCanDo(_ vector: Vector) throws {
        let body = vector["answer"].isNull ? Data(vector["text"].string.utf8) : vector["answer"].data
        guard vector["status"].int != 200 else {
            #expect(vector["do"].isNull)
            return
        }
        let retryAfter = TimeInterval(vector["header"]["Retry-After"].string)
        let error = PhoneError(status: Int(vector["status"].int), body: body, requestID: nil, retryAfter: retryAfter)
        #expect(word(error.remedy) == vector["do"].string)
        let details = vector["answer"]["details"].array
        if let reason = details.first(where: { $0["@type"].string.hasSuffix("ErrorInfo") })?["reason"].string { #expect(error.reason == reason) }
        if let id = details.first(where: { $0["@type"].string.hasSuffix("RequestInfo") })?["requestId"].string { #expect(error.requestID == id) }
        let fields = details.first { $0["@type"].string.hasSuffix("BadRequest") }?["fieldViolations"].array ?? []
        #expect(error.fields.map(\.name) == fields.map { $0["field"].string })
        if let retryAfter { #expect(error.remedy == .wait(retryAfter)) }
    }

    @Test(arguments: Vectors.cases("actions.json", where: "status", is: JSON(Int64(200))))
    func answerToATapIsRead(_ vector: Vector) throws {
        let answer = try #require(TapAnswer(vector["answer"]))
        let want = vector["answer"]
        #expect(answer.outcome.rawValue == want["outcome"].string)
        #expect(answer.state.rawValue == want["state"].string)
        #expect(answer.changed == want["changed"].bool)
        #expect(answer.holder == want["holder"].string)
        #expect(answer.holderIsCaller == want["holderIsCaller"].bool)
        #expect(answer.number == want["number"].int)
        #expect(answer.reopen == want["reopen"].bool)
        #expect(answer.time == want["serverTime"].date)
    }

    @Test(arguments: Vectors.cases("receipts.json", where: "name", is: "received and displayed"))
    func receiptsAreWrittenAsTheServerReadsThem(_ vector: Vector) throws {
        let first = try #require(vector["body"]["receipts"].array.first)
        let receipt = Receipt(deliveryID: first["deliveryId"].string, state: .received, at: try #require(first["deviceAt"].date))
        let written = receipt.json(app: first["appVersion"].string, os: first["os"].string)
        for key in ["deliveryId", "state", "appVersion", "os"] { #expect(written[key] == first[key]) }
        #expect(written["deviceAt"].date == first["deviceAt"].date)
    }
}

@Suite struct Queues {
    private func time(_ seconds: JSON) -> Date { Date(timeIntervalSince1970: seconds.double) }

    @Test(arguments: Vectors.cases("queue.json"))
    func tapsStepByStep(_ vector: Vector) throws {
        let pauses = Pauses(random: { 1 })
        var queue = TapQueue(pauses: pauses)
        var made: [String] = []
        var disk: [Tap] = []
        for step in vector["steps"].array {
            let at = time(step["at"])
            switch step["do"].string {
            case "tap", "tap_full":
                let name = String(UnicodeScalar(UInt8(65 + made.count)))
                var tap = Tap(
                    id: name, verb: try #require(Verb(rawValue: step["verb"].string)), incident: "", phoneTime: at, deadline: time(step["deadline"]))
                tap.deliveryID = step["delivery"].string
                if queue.add(tap, at: at) == nil {
                    made.append(name)
                    if step["do"].string == "tap" { disk.append(tap) }
                }
            case "answer", "no_answer":
                let status = Int(step["status"].int)
                let error = PhoneError(status: status, body: Data(), requestID: nil, retryAfter: step["retry_after"].double)
                if status == 200 {
                    queue.ended(step["action"].string, .done, at: at)
                } else if status == 0 || error.isTemporary {
                    queue.ended(step["action"].string, .retry(wanted: error.pause), at: at)
                } else {
                    queue.ended(step["action"].string, .refused, at: at)
                }
            case "killed":
                let over = Set(queue.entries.filter(\.shows.isOver).map(\.tap.id))
                queue = TapQueue(pauses: pauses)
                for tap in disk where !over.contains(tap.id) { _ = queue.add(tap, at: at) }
            case "online": queue.online(at: at)
            case "wake": break
            default: Issue.record("there is no step \(step["do"].string)")
            }
            let sends = queue.advance(to: at).map(\.id)
            #expect(sends == step["sends"].array.map(\.string), "at \(step["at"].int) s")
            let shows = Dictionary(uniqueKeysWithValues: queue.entries.map { ($0.tap.id, word($0.shows)) })
            #expect(shows == (step["shows"].object ?? [:]).mapValues(\.string), "at \(step["at"].int) s")
            #expect(queue.next.map(\.timeIntervalSince1970) ?? -1 == step["next"].double, "at \(step["at"].int) s")
        }
    }

    private func word(_ shows: TapQueue.Shows) -> String {
        switch shows {
        case .acting: return "acting"
        case .unconfirmed: return "unconfirmed"
        case .done: return "done"
        case .refused: return "refused"
        case .givenUp: return "given_up"
        }
    }

    @Test(arguments: Vectors.cases("batches.json"))
    func receiptsStepByStep(_ vector: Vector) throws {
        let pauses = Pauses(random: { 1 })
        var queue = ReceiptQueue(pauses: pauses)
        var isLocked = false
        func say(_ receipt: Receipt) -> String { receipt.deliveryID + " " + receipt.state.rawValue.dropFirst("STATE_".count) }
        for step in vector["steps"].array {
            let at = time(step["at"])
            switch step["do"].string {
            case "add":
                let state = try #require(Receipt.State(rawValue: "STATE_" + step["state"].string))
                for i in step["from"].int...max(step["from"].int, step["to"].int) {
                    queue.add(Receipt(deliveryID: "d\(i)", state: state, at: at, key: "d\(i)"))
                }
            case "answer", "no_answer":
                let status = Int(step["status"].int)
                let error = PhoneError(status: status, body: Data(), requestID: nil, retryAfter: step["retry_after"].double)
                if status == 0 || (status != 200 && error.isTemporary) {
                    queue.failed(wanted: error.pause, at: at)
                } else {
                    queue.taken(at: at)
                }
            case "killed":
                let kept = queue.receipts
                queue = ReceiptQueue(pauses: pauses)
                for receipt in kept { queue.add(receipt) }
            case "online": queue.online(at: at)
            case "locked": isLocked = true
            case "unlocked": isLocked = false
            case "wake": break
            default: Issue.record("there is no step \(step["do"].string)")
            }
            _ = queue.drop { at.timeIntervalSince($0.at) >= ReceiptQueue.memory }
            let batch = queue.advance(to: at, locked: isLocked)
            let where_: Comment = "at \(step["at"].int) s"
            #expect(Int64(batch?.receipts.count ?? 0) == step["call"]["count"].int, where_)
            #expect(batch?.receipts.first.map(say) ?? "" == step["call"]["first"].string, where_)
            #expect(batch?.receipts.last.map(say) ?? "" == step["call"]["last"].string, where_)
            #expect(batch?.key ?? "" == step["call"]["receipt_key"].string, where_)
            #expect(Int64(queue.receipts.count) == step["kept"].int, where_)
            #expect(queue.next.map(\.timeIntervalSince1970) ?? -1 == step["next"].double, where_)
        }
    }

    @Test func pausesAreBetweenHalfAndAll() {
        #expect((1...7).map { Pauses(random: { 1 }).after($0) } == [1, 2, 4, 8, 16, 30, 30])
        #expect((1...7).map { Pauses(random: { 0 }).after($0) } == [0.5, 1, 2, 4, 8, 15, 15])
        #expect(Pauses(random: { 0 }).after(1, wanted: 20) == 20)
        #expect(Pauses(random: { 1 }).after(1_000) == 30)
    }
}
