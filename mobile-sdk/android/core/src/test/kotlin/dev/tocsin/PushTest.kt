// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import dev.tocsin.kept.Arrived
import java.security.GeneralSecurityException
import java.security.KeyFactory
import java.security.spec.ECPrivateKeySpec
import java.time.Instant
import java.util.Base64
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Assert.fail
import org.junit.Test

class PushTest {
    @Test
    fun `reads each kind of push`() {
        val cases = Vectors.cases("payloads.json").filter { it.text("platform") == "android" }
        assertTrue("no case for Android", cases.size > 5)
        for (case in cases) {
            val push = checkNotNull(Push.read(case["payload"].asJsonObject.texts())) { case.text("name") }
            val want = case["want"].asJsonObject
            val got = mapOf(
                "kind" to push.kind.name.lowercase(), "delivery_id" to push.deliveryId, "incident_id" to push.incidentId,
                "number" to push.number, "revision" to push.revision, "severity" to push.severity, "title" to push.title,
                "subtitle" to push.subtitle, "body" to push.body, "expire_time" to Instant.ofEpochMilli(push.expires).toString(),
                "receipt_path" to if (push.wantsReceipt) "/v1/push/receipts" else "", "receipt_key" to push.receiptKey,
                "action_token" to push.actionToken, "audible" to push.audible, "critical" to push.critical,
                "offers_acknowledge" to push.offersAcknowledge, "sealed" to push.sealed, "sealed_key" to push.sealedKey,
            )
            for ((key, value) in got) {
                val wanted = want[key]?.asString ?: if (value is Long) "0" else ""
                assertEquals("${case.text("name")}: $key", wanted, value.toString())
            }
            assertEquals("a field of the vector is not compared", emptySet<String>(), want.keySet() - got.keys)
        }
    }

    @Test
    fun `what is none of tocsin's is left to the app`() {
        assertNull(Push.read(emptyMap()))
        assertNull(Push.read(mapOf("d" to "x", "k" to "page")))
        assertNull(Push.read(mapOf("v" to "1", "title" to "x")))
    }

    @Test
    fun `what cannot be read is not there, and the page is`() {
        val push = Push.read(mapOf("v" to "2", "d" to "x", "k" to "page", "n" to "many", "x" to "-", "m" to "[".repeat(100_000), "sound" to "normal"))
        assertNotNull(push)
        assertEquals(0, push!!.number)
        assertEquals(emptyMap<String, String>(), push.extra)
        assertEquals(Push.Kind.UNKNOWN, Push.read(mapOf("v" to "1", "d" to "x", "k" to "brew"))!!.kind)
        assertEquals(Arrival.RING, Arrivals.judge(Arrived.getDefaultInstance(), push, 1_000_000))
    }

    @Test
    fun `no secret is in the text of a push`() {
        val push = Push.read(mapOf("v" to "1", "d" to "d1", "k" to "page", "a" to "token", "uk" to "key", "title" to "secret"))
        assertFalse(Regex("token|key|secret").containsMatchIn(push.toString()))
        assertFalse("token" in Card("d", "t", 0, "token").toString())
        assertFalse("a".repeat(20) in EnrolmentLink.parse("https://x.example/enrol#" + "a".repeat(20)).toString())
    }

    @Test
    fun `judges what arrives`() {
        for (case in Vectors.cases("replays.json")) {
            var arrived = Arrived.getDefaultInstance()
            case["arrivals"].asJsonArray.map { it.asJsonObject }.forEachIndexed { i, a ->
                val at = Instant.parse(a.text("at")).toEpochMilli()
                val push = checkNotNull(
                    Push.read(
                        mapOf(
                            "v" to "1", "d" to a.text("delivery_id"), "k" to a.text("kind"), "i" to a.text("incident_id"), "r" to a.text("revision"),
                            "x" to Instant.parse(a.text("expires")).epochSecond.toString(),
                        ),
                    ),
                )
                assertEquals("${case.text("name")}, arrival ${i + 1}", a.text("want"), Arrivals.judge(arrived, push, at).name.lowercase())
                arrived = Arrivals.remember(arrived, push, at)
            }
        }
    }

    @Test
    fun `remembers as much as it needs and no more`() {
        var arrived = Arrived.getDefaultInstance()
        fun push(n: Int) = Push.read(mapOf("v" to "1", "d" to "d$n", "k" to "page", "i" to "i$n", "r" to "2"))!!
        repeat(600) { arrived = Arrivals.remember(arrived, push(it), 1_000L + it) }
        assertEquals(500, arrived.deliveriesCount)
        assertEquals(500, arrived.incidentsCount)
        assertEquals(Arrival.DUPLICATE, Arrivals.judge(arrived, push(599), 2_000))
        arrived = Arrivals.remember(arrived, push(700), 1_000 + 8 * 24 * 3_600_000L)
        assertEquals("a week later", 1, arrived.deliveriesCount)
    }

    @Test
    fun `opens what is sealed for it, and nothing else`() {
        val curve = (KeyFactory.getInstance("EC").generatePublic(java.security.spec.X509EncodedKeySpec(anyPublicKey())) as java.security.interfaces.ECPublicKey).params
        for (case in Vectors.cases("sealed.json")) {
            val scalar = java.math.BigInteger(1, Base64.getDecoder().decode(case.text("private_key")))
            val private = KeyFactory.getInstance("EC").generatePrivate(ECPrivateKeySpec(scalar, curve))
            val b = case["binding"].asJsonObject
            val aad = Binding(b.text("delivery"), b.text("incident"), b.text("device"), b.text("key"), b.long("deadline")).aad()
            assertArrayEquals(case.text("name"), Base64.getDecoder().decode(case.text("aad")), aad)
            try {
                val text = Seal.open(case.text("sealed"), private, Base64.getDecoder().decode(case.text("public_key")), aad)
                assertTrue("${case.text("name")} must not open", case["opens"].asBoolean)
                assertEquals(case.text("name"), case.text("text"), String(text))
            } catch (e: GeneralSecurityException) {
                assertFalse("${case.text("name")}: $e", case["opens"].asBoolean)
            }
        }
    }

    @Test
    fun `refuses points that are on no curve`() {
        val (private, public) = Seal.pair()
        val off = public.copyOf().also { it[64] = (it[64] + 1).toByte() }
        try {
            Seal.open(Base64.getEncoder().encodeToString(off + ByteArray(32)), Seal.privateKey(private), public, ByteArray(0))
            fail("it was taken")
        } catch (e: GeneralSecurityException) {
            assertEquals("the key is no point of the curve", e.message)
        }
    }

    @Test
    fun `a sealed text that is rubbish is none`() {
        assertNull(SealedText.read("no json".toByteArray()))
        assertNull(SealedText.read("[]".toByteArray()))
        assertNull(SealedText.read("{\"title\":".toByteArray()))
        val text = SealedText.read("""{"title":"T","links":[{"text":"a","url":"https://a.example"},{"text":"b","url":"http://b.example"},7],"m":{"x":1,"y":{}},"a":5}""".toByteArray())!!
        assertEquals("T", text.title)
        assertEquals("links lead by https only", listOf("https://a.example"), text.links.map { it.url })
        assertEquals(mapOf("x" to "1"), text.extra)
    }

    @Test
    fun `whatever comes is read or left, and nothing breaks`() {
        val random = java.util.Random(1)
        val text = """{"title":"T","links":[{"text":"a","url":"https://a.example"}],"m":{"x":"1","y":[1,2.5e9,true,null]},"a":"v1"}"""
        val data = mapOf("v" to "1", "d" to "d", "k" to "page", "n" to "42", "r" to "3", "x" to "1772331000", "m" to text, "e" to "AAAA", "badge" to "1")
        fun spoil(s: String): String {
            val bytes = s.toByteArray()
            repeat(1 + random.nextInt(4)) { if (bytes.isNotEmpty()) bytes[random.nextInt(bytes.size)] = random.nextInt(256).toByte() }
            return String(bytes, 0, random.nextInt(bytes.size + 1))
        }
        var opened = 0
        repeat(20_000) {
            if (SealedText.read(spoil(text).toByteArray()) != null) opened++
            val push = Push.read(data.mapValues { (_, value) -> if (random.nextInt(3) == 0) spoil(value) else value })
            if (push != null) Arrivals.judge(Arrivals.remember(Arrived.getDefaultInstance(), push, 1), push, 2)
            Origin.runCatching { parse(spoil("https://page.example.org:8443/enrol#0123456789abcdef")) }
                .exceptionOrNull()?.let { assertTrue("$it", it is IllegalArgumentException) }
        }
        assertTrue("some of it can be read", opened > 0)
    }

    private fun anyPublicKey(): ByteArray =
        java.security.KeyPairGenerator.getInstance("EC").apply { initialize(java.security.spec.ECGenParameterSpec("secp256r1")) }.generateKeyPair().public.encoded
}
