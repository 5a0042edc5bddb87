// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import dev.tocsin.sandbox.Sandbox
import dev.tocsin.v1.ActRequest.Verb.VERB_ACKNOWLEDGE
import dev.tocsin.v1.ActRequest.Verb.VERB_RESOLVE
import dev.tocsin.v1.ActResponse.Outcome
import dev.tocsin.v1.Device
import dev.tocsin.v1.Incident
import dev.tocsin.v1.TestPush
import java.security.KeyPairGenerator
import java.security.Signature
import java.security.interfaces.ECPublicKey
import java.security.spec.ECGenParameterSpec
import java.util.UUID
import java.util.concurrent.CopyOnWriteArrayList
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Assert.fail
import org.junit.Test

/** The contract of a phone, against a real server. */
class PhoneTest {
    /** One phone of one person, its disks and what it was told. */
    private class Owned(val name: String, val clocks: FakeOrReal = FakeOrReal(), val unlock: UnlockKey? = null) {
        val open = Disk()
        val secret = Disk()
        val handset = Sandbox.handset("$name ${UUID.randomUUID()}")
        val told = CopyOnWriteArrayList<Tap>()
        var phone = start()

        /** The app is started, with what it kept; what ran before is as if killed. */
        fun start(): Phone = Phone(open, secret, "Test/1.0", clocks, unlock).also { p ->
            p.onTap = { told += it }
            phone = p
        }

        val facts: Device get() = Device.newBuilder().setAppId(Sandbox.app)
            .setAddress(Device.Address.newBuilder().setKind(Device.Address.Kind.KIND_FCM).setValue(handset.token))
            .setPermission(Device.Permission.PERMISSION_GRANTED)
            .setCapabilities(Device.Capabilities.newBuilder().setChannelOk(true).setActions(true))
            .build()

        suspend fun enrol(): Owned {
            phone.enrol(EnrolmentLink.parse(Sandbox.link(name)), facts)
            return this
        }

        /** The next page, as the app shows it. */
        fun page(kind: String = "page"): Incoming = checkNotNull(phone.receive(handset.next(kind)))

        fun acknowledge(page: Incoming): Tap = phone.tap(Card.of(page), VERB_ACKNOWLEDGE)

        fun state(tap: Tap): TapState = phone.taps().first { it.actionId == tap.actionId }.state
    }

    /** The clocks of this machine, moved. */
    private class FakeOrReal(var off: Long = 0) : Clock {
        override fun wall() = Clock.System.wall() + off

        override fun elapsed() = Clock.System.elapsed()

        override val boot = UUID.randomUUID().toString()
    }

    private val phones = ArrayList<Owned>()

    private fun of(name: String, clocks: FakeOrReal = FakeOrReal(), unlock: UnlockKey? = null) = Owned(name, clocks, unlock).also { phones += it }

    private fun key() = UUID.randomUUID().toString()

    @After
    fun nobodyIsLeft() = runBlocking {
        Sandbox.line("up")
        if (sealed) Sandbox.privacy("ann", "FULL")
        phones.forEach { it.phone.signOut() }
    }

    private var sealed = false

    /** What ann is told is sealed for her phone. */
    private fun seal() {
        sealed = true
        Sandbox.privacy("ann", "SEALED")
    }

    private fun test(body: suspend () -> Unit) = runBlocking { withTimeout(90_000) { body() } }

    @Test
    fun `comes in, is paged, says so, and acknowledges`() = test {
        seal()
        val ann = of("ann")
        val link = EnrolmentLink.parse(Sandbox.link("ann"))
        assertEquals("Ann Archer", ann.phone.preview(link).userDisplayName)
        val device = ann.phone.enrol(link, ann.facts)
        assertEquals(device.name, ann.phone.person()?.device)
        assertFalse(ann.phone.register(ann.facts).confirmationRequired)

        Sandbox.alert("search", key())
        val page = ann.page()
        assertEquals(Arrival.RING, page.arrival)
        assertEquals("Critical: Search", page.title)
        assertEquals("sealed for the phone", "", page.unopened)
        assertNotNull(page.text)
        ann.phone.shown(page, Shown.Displayed(audible = true), Priority("high", "high"), net = "wifi")
        val tap = ann.acknowledge(page)
        assertNull("nothing waits", ann.phone.deliver(0))
        val done = ann.state(tap) as TapState.Done
        assertEquals(Outcome.OUTCOME_DONE, done.answer.outcome)
        assertTrue(done.answer.holderIsCaller)

        assertTrue("ACTED" in deliveries(page))
        assertEquals(Device.Health.HEALTH_GREEN, ann.phone.device().health)
        assertEquals("the card goes quiet", Arrival.REPLACE, ann.page("clear").arrival)
        assertEquals(listOf(TapState.Acting, done), ann.told.map { it.state })
    }

    @Test
    fun `a push that comes twice rings once`() = test {
        val ann = of("ann").enrol()
        Sandbox.alert("search", key())
        val data = ann.handset.next("page")
        val first = ann.phone.receive(data)!!
        ann.phone.shown(first, Shown.Displayed(true))
        assertEquals(Arrival.DUPLICATE, ann.start().receive(data)!!.arrival)
        Sandbox.line("down")
        ann.phone.shown(ann.phone.receive(data)!!, Shown.Nothing)
        assertNotNull(ann.phone.deliver(0))
        Sandbox.line("up")
        ann.phone.hurry()
        assertNull(ann.phone.deliver(0))
    }

    @Test
    fun `an acknowledgement made offline arrives once, after the app was killed`() = test {
        val ann = of("ann").enrol()
        Sandbox.alert("search", key())
        val page = ann.page()
        Sandbox.line("down")
        val tap = ann.acknowledge(page)
        assertTrue(tap.kept)
        assertNotNull("it wants to be called again", ann.phone.deliver(0))
        assertTrue("nobody was told that it is done", ann.told.none { it.state.over })
        ann.start()
        assertEquals(tap.actionId, ann.phone.taps().single().actionId)
        Sandbox.line("up")
        ann.phone.hurry()
        assertNull(ann.phone.deliver(5_000))
        assertTrue((ann.state(tap) as TapState.Done).answer.changed)
        assertNull("and not again", ann.start().taps().firstOrNull())
    }

    @Test
    fun `an answer that is lost is asked for again, and is the same`() = test {
        val ann = of("ann").enrol()
        Sandbox.alert("search", key())
        val page = ann.page()
        Sandbox.line("lost", path = "/tocsin.v1.DeviceService/Act", times = 1)
        val tap = ann.acknowledge(page)
        assertNull(ann.phone.deliver(8_000))
        val answer = (ann.state(tap) as TapState.Done).answer
        assertEquals("done by the call whose answer was lost", Outcome.OUTCOME_DONE, answer.outcome)
        assertTrue(answer.changed)
    }

    @Test
    fun `a server that fails, and one that says nothing, have acknowledged nothing`() = test {
        val ann = of("ann").enrol()
        Sandbox.alert("search", key())
        val page = ann.page()
        Sandbox.line("error", status = 500)
        val tap = ann.acknowledge(page)
        ann.phone.deliver(0)
        assertEquals(TapState.Acting, ann.state(tap))
        Sandbox.line("silent")
        ann.phone.hurry()
        ann.phone.deliver(0)
        assertEquals(TapState.Acting, ann.state(tap))
        assertEquals(Incident.State.STATE_TRIGGERED, stateOf(page))
        // Long enough after the tap the card says that nobody has confirmed it.
        ann.phone.deliver(15_000)
        assertEquals(TapState.Unconfirmed, ann.state(tap))
        Sandbox.line("up")
        ann.phone.hurry()
        assertNull(ann.phone.deliver(0))
        assertTrue(ann.state(tap) is TapState.Done)
        assertEquals(listOf("Acting", "Unconfirmed", "Done"), ann.told.map { it.state.javaClass.simpleName })
    }

    private fun deliveries(page: Incoming) = Sandbox.call("/v1/incidents/${page.push.incidentId}/deliveries").toString()

    private fun stateOf(page: Incoming) = Incident.State.valueOf(Sandbox.call("/v1/incidents/${page.push.incidentId}").text("state"))

    @Test
    fun `a proxy's page signs nobody out`() = test {
        val ann = of("ann").enrol()
        for (status in listOf(401, 403, 404, 407, 502, 511)) {
            Sandbox.line("error", status = status)
            try {
                ann.phone.device()
                fail("$status was an answer")
            } catch (e: TocsinException) {
                assertTrue("$status is ${e.javaClass.simpleName}", e.passes)
            }
        }
        Sandbox.line("up")
        assertNotNull(ann.phone.device())
    }

    @Test
    fun `two people who tap at once both learn who holds it`() = test {
        val ann = of("ann").enrol()
        val ben = of("ben").enrol()
        Sandbox.alert("payments", key())
        val pages = listOf(ann to ann.page(), ben to ben.page())
        val answers = kotlinx.coroutines.coroutineScope {
            pages.map { (who, page) ->
                async(kotlinx.coroutines.Dispatchers.IO) {
                    val tap = who.acknowledge(page)
                    who.phone.deliver(0)
                    (who.state(tap) as TapState.Done).answer
                }
            }.awaitAll()
        }
        assertEquals("one holder", 1, answers.map { it.holder }.distinct().size)
        assertEquals("who is one of them", 1, answers.count { it.holderIsCaller })
        assertTrue(answers.all { it.state == Incident.State.STATE_ACKNOWLEDGED })
    }

    @Test
    fun `a double tap is one action`() = test {
        val ann = of("ann").enrol()
        Sandbox.alert("search", key())
        val page = ann.page()
        val taps = List(5) { ann.acknowledge(page) }
        assertEquals(1, taps.map { it.actionId }.distinct().size)
        kotlinx.coroutines.coroutineScope { repeat(5) { launch(kotlinx.coroutines.Dispatchers.IO) { ann.phone.deliver(0) } } }
        assertEquals(1, ann.phone.taps().size)
        val timeline = Sandbox.call("/v1/incidents/${page.push.incidentId}/timeline")["entries"].asJsonArray
        assertEquals("$timeline", 1, timeline.count { "ACKNOWLEDGED" in it.asJsonObject.text("type") })
    }

    @Test
    fun `a full disk keeps nothing and acknowledges all the same`() = test {
        val ann = of("ann").enrol()
        Sandbox.alert("search", key())
        val page = ann.page()
        ann.open.full = true
        ann.phone.shown(page, Shown.Displayed(true))
        Sandbox.line("down")
        val tap = ann.acknowledge(page)
        assertFalse("the app is told", tap.kept)
        assertNotNull(ann.phone.deliver(0))
        assertEquals(TapState.Acting, ann.state(tap))
        Sandbox.line("up")
        ann.phone.hurry()
        assertNull(ann.phone.deliver(0))
        assertTrue(ann.state(tap) is TapState.Done)
    }

    @Test
    fun `a full disk leaves the link for another day`() = test {
        val ann = of("ann")
        val link = EnrolmentLink.parse(Sandbox.link("ann"))
        ann.secret.full = true
        try {
            ann.phone.enrol(link, ann.facts)
            fail("it was kept on a full disk")
        } catch (e: TocsinException.NotKept) {
            assertNull(ann.phone.person())
        }
        ann.secret.full = false
        ann.phone.enrol(link, ann.facts)
        assertNotNull(ann.phone.person())
    }

    @Test
    fun `a link works once`() = test {
        val link = EnrolmentLink.parse(Sandbox.link("ann"))
        val first = of("ann")
        first.phone.enrol(link, first.facts)
        val second = of("ann")
        for (attempt in listOf<suspend () -> Unit>({ second.phone.preview(link) }, { second.phone.enrol(link, second.facts) })) {
            try {
                attempt()
                fail("it worked twice")
            } catch (e: TocsinException.LinkOver) {
                assertEquals("ENROLMENT_CODE", e.reason)
            }
        }
        assertNull(second.phone.person())
    }

    @Test
    fun `with a clock that is an hour off pages ring, and are missed when they are late`() = test {
        for (off in listOf(3_600_000L, -3_600_000L)) {
            val ann = of("ann", FakeOrReal(off)).enrol()
            Sandbox.alert("search", key())
            val data = ann.handset.next("page")
            val page = ann.phone.receive(data)!!
            assertEquals("$off", Arrival.RING, page.arrival)
            assertTrue("off by ${ann.phone.clock.offset()}", kotlin.math.abs(ann.phone.clock.offset() + off) < 5_000)
            ann.phone.shown(page, Shown.Displayed(true))
            val tap = ann.acknowledge(page)
            assertNull(ann.phone.deliver(0))
            assertTrue(ann.state(tap) is TapState.Done)
            val late = data + mapOf("d" to UUID.randomUUID().toString(), "x" to ((ann.phone.clock.now() - 1_000) / 1_000).toString())
            assertEquals(Arrival.MISSED, ann.phone.receive(late)!!.arrival)
            ann.phone.signOut()
        }
    }

    @Test
    fun `a clock that nobody has confirmed since the start silences no page`() = test {
        val ann = of("ann", FakeOrReal(-3_600_000L)).enrol() // an hour behind
        Sandbox.alert("search", key())
        val data = ann.handset.next("page")
        // The phone is started again, and its clock is right now.
        val again = Phone(ann.open, ann.secret, "Test/1.0", FakeOrReal())
        assertTrue("by what is kept it is late", again.clock.now() > data.getValue("x").toLong() * 1_000)
        assertEquals(Arrival.RING, again.receive(data)!!.arrival)
        again.device() // an answer
        assertEquals(Arrival.RING, again.receive(data)!!.arrival)
        val late = data + mapOf("d" to UUID.randomUUID().toString(), "x" to ((again.clock.now() - 2_000) / 1_000).toString())
        assertEquals(Arrival.MISSED, again.receive(late)!!.arrival)
        again.close()
    }

    @Test
    fun `a phone whose keys cannot be read stays whose it is`() = test {
        val ann = of("ann").enrol()
        ann.secret.locked = true
        try {
            ann.phone.enrol(EnrolmentLink.parse(Sandbox.link("ben")), ann.facts)
            fail("it cannot know who is signed in")
        } catch (_: TocsinException.NotKept) {
            ann.secret.locked = false
        }
        assertEquals("Ann Archer", ann.phone.person()!!.displayName)
        Sandbox.alert("search", key())
        assertEquals(Arrival.RING, ann.page().arrival)
    }

    @Test
    fun `a credential that cannot be kept pages nobody`() = test {
        val ann = of("ann")
        val name = "one that is full ${key()}"
        ann.secret.refuses = { "tcd_" in String(it, Charsets.ISO_8859_1) } // there was room for it when it was looked for
        try {
            ann.phone.enrol(EnrolmentLink.parse(Sandbox.link("ann")), ann.facts.toBuilder().setDisplayName(name).build())
            fail("where is it kept?")
        } catch (_: TocsinException.NotKept) {
            assertNull(ann.phone.person())
        }
        val left = Sandbox.call("/v1/devices?pageSize=200")["devices"].asJsonArray.map { it.asJsonObject }.filter { it["displayName"]?.asString == name }
        assertTrue("$left", left.all { it["state"].asString == "STATE_REVOKED" })
    }

    @Test
    fun `what was locked when the phone was wiped goes when it is not`() = test {
        val ann = of("ann").enrol()
        val device = ann.phone.person()!!.device.removePrefix("devices/")
        ann.secret.locked = true
        ann.phone.receive(mapOf("v" to "1", "d" to UUID.randomUUID().toString(), "k" to "heartbeat", "m" to """{"wipe":"$device"}"""))
        ann.secret.locked = false
        assertFalse(ann.secret.files.isEmpty())
        ann.phone.deliver(0)
        assertTrue("${ann.secret.files.keys}", ann.secret.files.isEmpty())
        Sandbox.revoke("devices/$device")
    }

    @Test
    fun `a phone that was taken out forgets everything`() = test {
        val ann = of("ann").enrol()
        Sandbox.alert("search", key())
        val page = ann.page()
        val out = CompletableDeferred<Unit>()
        ann.phone.onSignedOut = { out.complete(Unit) }
        Sandbox.line("down")
        val tap = ann.acknowledge(page)
        ann.phone.deliver(0)
        Sandbox.line("up")
        Sandbox.revoke(ann.phone.person()!!.device)
        ann.phone.hurry()
        // The server knows within a second.
        var next: Long? = 0
        while (next != null) next = ann.phone.deliver(2_000)
        assertTrue("it was never acknowledged: ${ann.state(tap)}", ann.state(tap) is TapState.Refused || ann.state(tap) is TapState.Done)
        try {
            ann.phone.device()
            fail("it is signed in")
        } catch (e: TocsinException.SignedOut) {
            out.await()
        }
        assertNull(ann.phone.person())
        assertTrue("nothing secret is left", ann.secret.files.isEmpty())
        assertEquals(setOf("home", "clock"), ann.open.files.keys)
    }

    @Test
    fun `the push that asks for it wipes the phone`() = test {
        val ann = of("ann").enrol()
        Sandbox.revoke(ann.phone.person()!!.device)
        val wipe = ann.handset.next("heartbeat")
        var out = false
        ann.phone.onSignedOut = { out = true }
        assertEquals(Arrival.NOTHING, ann.phone.receive(wipe + ("m" to """{"wipe":"somebodyelse"}"""))!!.arrival)
        assertFalse(out)
        ann.phone.receive(wipe)
        assertTrue(out)
        assertNull(ann.phone.person())
    }

    @Test
    fun `before the first unlock it says that it has the page, and the tap waits`() = test {
        seal()
        val ann = of("ann").enrol()
        Sandbox.alert("search", key())
        val data = ann.handset.next("page")
        ann.secret.locked = true
        ann.start()
        val page = ann.phone.receive(data)!!
        assertEquals(Arrival.RING, page.arrival)
        assertEquals("locked", page.unopened)
        assertEquals("the text in the clear", data["title"], page.title)
        ann.phone.shown(page, Shown.Displayed(true))
        val tap = ann.acknowledge(page)
        assertNotNull("the tap waits", ann.phone.deliver(0))
        assertEquals(TapState.Acting, ann.state(tap))
        // The receipts went by the key of the page.
        assertTrue("STATE_DISPLAYED" in deliveries(page))
        ann.secret.locked = false
        ann.phone.hurry()
        assertNull(ann.phone.deliver(0))
        assertTrue(ann.state(tap) is TapState.Done)
    }

    @Test
    fun `to resolve from the card proves that the phone is unlocked`() = test {
        val pair = KeyPairGenerator.getInstance("EC").apply { initialize(ECGenParameterSpec("secp256r1")) }.generateKeyPair()
        val unlock = object : UnlockKey {
            var locked = true

            override fun publicKey() = Seal.point(pair.public as ECPublicKey)

            override fun sign(text: ByteArray): ByteArray {
                if (locked) throw LockedException("locked")
                return Signature.getInstance("SHA256withECDSA").run {
                    initSign(pair.private)
                    update(text)
                    sign()
                }
            }
        }
        val ann = of("ann", unlock = unlock).enrol()
        Sandbox.alert("search", key())
        val page = ann.page()
        try {
            ann.phone.tap(Card.of(page), VERB_RESOLVE)
            fail("it was resolved on a locked phone")
        } catch (_: LockedException) {
            assertTrue(ann.phone.taps().isEmpty())
        }
        unlock.locked = false
        val tap = ann.phone.tap(Card.of(page), VERB_RESOLVE)
        assertNull(ann.phone.deliver(0))
        assertEquals(Incident.State.STATE_RESOLVED, (ann.state(tap) as TapState.Done).answer.state)
    }

    @Test
    fun `a new token, and a new key to seal for`() = test {
        seal()
        val ann = of("ann").enrol()
        val other = Sandbox.handset("again ${UUID.randomUUID()}")
        ann.phone.register(ann.facts.toBuilder().setAddress(ann.facts.address.toBuilder().setValue(other.token)).build())
        val before = ann.secret.files.getValue("seal-keys")
        ann.phone.renewSealKey()
        assertFalse(before.contentEquals(ann.secret.files.getValue("seal-keys")))
        val again = ann.facts.toBuilder().setAddress(ann.facts.address.toBuilder().setValue(other.token)).build()
        ann.phone.register(again)
        Sandbox.alert("search", key())
        val page = ann.phone.receive(other.next("page"))!!
        assertNotNull("it opens with the new key", page.text)
    }

    @Test
    fun `an address that was another's is proven by its nonce`() = test {
        val ben = of("ben").enrol()
        val ann = of("ann").enrol()
        val taken = ann.facts.toBuilder().setAddress(ben.facts.address).build()
        assertTrue(ann.phone.register(taken).confirmationRequired)
        val nonce = generateSequence { ann.phone.receive(ben.handset.next())!!.push.nonce }.firstOrNull() ?: error("no nonce")
        try {
            ann.phone.confirmAddress("0".repeat(nonce.length))
            fail("any nonce will do")
        } catch (e: TocsinException.NotNow) {
            assertEquals("NONCE_INVALID", e.reason)
        }
        assertEquals(Device.State.STATE_ACTIVE, ann.phone.confirmAddress(nonce).state)
    }

    @Test
    fun `the next person signs the one before out`() = test {
        val shared = of("ann").enrol()
        val first = shared.phone.person()!!
        val over = EnrolmentLink.parse(Sandbox.link("ben").dropLast(4) + "0000")
        try {
            shared.phone.enrol(over, shared.facts)
            fail("any link will do")
        } catch (_: TocsinException.LinkOver) {
            assertEquals("she is still there", first.device, shared.phone.person()!!.device)
        }
        val device = shared.phone.enrol(EnrolmentLink.parse(Sandbox.link("ben")), shared.facts)
        assertNotEquals(first.device, device.name)
        assertEquals("Ben Baker", shared.phone.person()!!.displayName)
        assertEquals("STATE_REVOKED", Sandbox.call("/v1/${first.device}").text("state"))
    }

    @Test
    fun `signing out offline says that nobody was told`() = test {
        val ann = of("ann").enrol()
        Sandbox.line("down")
        assertFalse(ann.phone.signOut())
        assertNull(ann.phone.person())
    }

    @Test
    fun `a test passes when it was received and heard`() = test {
        val ann = of("ann").enrol()
        val sent = ann.phone.sendTest()
        val page = ann.page("test")
        assertEquals(Arrival.RING, page.arrival)
        ann.phone.shown(page, Shown.Displayed(true))
        assertNull(ann.phone.deliver(0))
        ann.phone.confirmTest(sent.name, heard = true)
        assertEquals(TestPush.Verdict.VERDICT_PASSED, ann.phone.watchTest(sent.name).first { it.verdict != TestPush.Verdict.VERDICT_UNSPECIFIED }.verdict)
    }

    @Test
    fun `watching goes on where it was when the line is back`() = test {
        val ann = of("ann").enrol()
        val changes = Channel<Change>(Channel.UNLIMITED)
        kotlinx.coroutines.coroutineScope {
            val watcher = launch(kotlinx.coroutines.Dispatchers.IO) { ann.phone.incidents.watch().collect { changes.send(it) } }
            assertTrue(changes.receive() is Change.Listed)
            Sandbox.alert("search", key())
            val begun = changes.firstIncident { it.state == Incident.State.STATE_TRIGGERED }
            Sandbox.line("down")
            changes.first { it is Change.Line && !it.live }
            val page = ann.page()
            assertEquals(begun.name, "incidents/${page.push.incidentId}")
            Sandbox.line("up")
            val held = ann.phone.incidents.acknowledge(begun)
            assertEquals(Incident.State.STATE_ACKNOWLEDGED, held.state)
            changes.first { it is Change.Line && it.live }
            assertEquals(begun.name, changes.firstIncident { it.state == Incident.State.STATE_ACKNOWLEDGED }.name)
            try {
                ann.phone.incidents.resolve(begun)
                fail("it was resolved by what was on the screen before")
            } catch (e: TocsinException.Moved) {
                assertEquals("REVISION_MOVED", e.reason)
            }
            assertEquals(Incident.State.STATE_RESOLVED, ann.phone.incidents.resolve(ann.phone.incidents.get(begun.name)).state)
            changes.firstIncident { it.state == Incident.State.STATE_RESOLVED }
            watcher.cancelAndJoin()
        }
    }

    private suspend fun Channel<Change>.first(what: (Change) -> Boolean): Change {
        while (true) receive().let { if (what(it)) return it }
    }

    private suspend fun Channel<Change>.firstIncident(what: (Incident) -> Boolean): Incident =
        (first { it is Change.Changed && what(it.incident) } as Change.Changed).incident

    @Test
    fun `a tap is at the server within a second`() = test {
        val ann = of("ann").enrol()
        val took = ArrayList<Long>()
        repeat(20) {
            Sandbox.alert("search", key())
            val page = ann.page()
            ann.start() // as a receiver finds it: nothing is connected
            val before = System.nanoTime()
            val tap = ann.acknowledge(page)
            ann.phone.deliver(0)
            took += (System.nanoTime() - before) / 1_000_000
            assertTrue(ann.state(tap) is TapState.Done)
        }
        took.sort()
        println("tap to answer, ms: median ${took[took.size / 2]}, most ${took.last()}, of ${took.size}")
        assertTrue("$took", took.last() <= 1_000)
    }
}
