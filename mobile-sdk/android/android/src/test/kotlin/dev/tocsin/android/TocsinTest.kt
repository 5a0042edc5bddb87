// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin.android

import android.app.Notification
import android.app.NotificationChannel
import android.app.NotificationManager
import android.app.job.JobInfo
import android.content.Intent
import android.media.AudioAttributes
import android.net.Uri
import com.google.gson.JsonObject
import dev.tocsin.Card
import dev.tocsin.TapState
import dev.tocsin.sandbox.Sandbox
import dev.tocsin.v1.ActRequest.Verb
import dev.tocsin.v1.Device
import dev.tocsin.v1.TestPush
import java.io.File
import java.util.UUID
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config

/** What the owner of a phone sees. */
@RunWith(RobolectricTestRunner::class)
@Config(shadows = [FullScreen::class])
class TocsinTest {
    @get:Rule
    internal val owner = Owner()

    private val example = mapOf(
        "v" to "1", "d" to "0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e10", "k" to "page", "i" to "a", "n" to "42", "r" to "3",
        "title" to "CRITICAL Payments", "subtitle" to "db1", "body" to "1 open: disk full", "channel" to "page_normal",
        "sound" to "normal", "tag" to "inc-a", "ack" to "1", "insistent" to "1", "visibility" to "private",
    )

    private fun page(vararg more: Pair<String, String>) =
        example + ("x" to (System.currentTimeMillis() / 1_000 + 600).toString()) + mapOf(*more)

    private val shown get() = owner.card("inc-a")

    @Test
    fun `a page rings as an alarm until somebody sees to it`() {
        owner.enrol()
        owner.tocsin.onMessage(page(), 1, 1)
        val card = shown!!
        assertTrue(card.flags and Notification.FLAG_INSISTENT != 0)
        assertEquals(Notification.CATEGORY_ALARM, card.category)
        assertEquals(Notification.VISIBILITY_PRIVATE, card.visibility)
        assertTrue("until its deadline: ${card.timeoutAfter}", card.timeoutAfter in 590_000..600_000)
        assertNotNull("it takes the screen", card.fullScreenIntent)
        assertEquals("db1\n1 open: disk full", card.extras.getCharSequence(Notification.EXTRA_TEXT).toString())
        val public = card.publicVersion
        assertEquals("1 open: disk full", public.extras.getCharSequence(Notification.EXTRA_TEXT).toString())
        assertEquals("the same button", card.actions.single().actionIntent, public.actions.single().actionIntent)
        assertFalse("on the locked phone too", card.actions.single().isAuthenticationRequired)
        val channel = owner.notifications.getNotificationChannel(card.channelId)
        assertEquals(AudioAttributes.USAGE_ALARM, channel.audioAttributes.usage)
        assertEquals(NotificationManager.IMPORTANCE_HIGH, channel.importance)
    }

    @Test
    fun `what arrives is shown as the contract says`() {
        owner.enrol()
        assertFalse("another's message", owner.tocsin.onMessage(mapOf("title" to "news"), 2, 2))
        owner.tocsin.onMessage(page("d" to "old", "x" to "1000"), 1, 1)
        assertEquals("Missed: CRITICAL Payments", shown!!.extras.getCharSequence(Notification.EXTRA_TITLE).toString())
        assertEquals("without a sound", "info", shown!!.channelId)
        owner.tocsin.onMessage(page("d" to "new"), 1, 1)
        assertEquals("page_normal", shown!!.channelId)
        owner.tocsin.onMessage(page("d" to "clear", "k" to "clear", "r" to "4", "channel" to "info", "sound" to "", "title" to "Acknowledged", "ack" to "", "insistent" to ""), 1, 1)
        assertEquals("in its place", "info", shown!!.channelId)
        assertNull("no button", shown!!.actions)
        owner.tocsin.onMessage(page("d" to "late"), 1, 1)
        assertEquals("a page that the clear overtook", "Acknowledged", shown!!.extras.getCharSequence(Notification.EXTRA_TITLE).toString())
        owner.tocsin.onMessage(mapOf("v" to "1", "d" to "beat", "k" to "heartbeat", "u" to "/v1/push/receipts"), 2, 2)
        assertEquals(1, owner.notifications.activeNotifications.size)
        owner.tocsin.onMessage(page("d" to "shadow", "r" to "5", "tag" to "s", "sh" to "observe"), 1, 1)
        assertNull("who only watches has nothing to acknowledge", owner.card("s")!!.actions)
    }

    @Test
    fun `a critical page goes where do not disturb lets it through, once that was granted`() {
        owner.enrol()
        owner.tocsin.onMessage(page("channel" to "page_critical", "sound" to "critical"), 1, 1)
        assertEquals("page_normal", shown!!.channelId)
        assertFalse(owner.tocsin.readiness().throughDoNotDisturb)
        shadowOf(owner.notifications).setNotificationPolicyAccessGranted(true)
        assertTrue(owner.tocsin.readiness().throughDoNotDisturb)
        owner.tocsin.onMessage(page("d" to "again", "channel" to "page_critical", "sound" to "critical"), 1, 1)
        assertEquals("page_critical", shown!!.channelId)
        assertTrue(owner.notifications.getNotificationChannel("page_critical").canBypassDnd())
    }

    @Test
    fun `a new sound is a new channel`() {
        owner.enrol()
        owner.look = Look("Test/1.0", 17, owner.look.open, sound = Uri.parse("content://sound/2"), soundVersion = 2)
        owner.restart()
        val ids = owner.notifications.notificationChannels.map { it.id }.sorted()
        assertEquals(listOf("info", "page_normal_v2"), ids)
        owner.tocsin.onMessage(page(), 1, 1)
        assertEquals("page_normal_v2", shown!!.channelId)
        assertEquals(Uri.parse("content://sound/2"), owner.notifications.getNotificationChannel("page_normal_v2").sound)
    }

    @Test
    fun `what the owner has set is read back`() {
        owner.enrol()
        assertTrue(owner.tocsin.readiness().ready)
        owner.notifications.createNotificationChannel(NotificationChannel("page_normal", "x", NotificationManager.IMPORTANCE_NONE))
        FullScreen.allowed = false
        val set = owner.tocsin.readiness()
        assertFalse("the whole screen", set.fullScreen)
        owner.tocsin.onMessage(page(), 1, 1)
        assertNull(shown?.fullScreenIntent)
        shadowOf(owner.notifications).setNotificationsEnabled(false)
        assertFalse(owner.tocsin.readiness().notifications)
        assertFalse(owner.tocsin.readiness().ready)
    }

    @Test
    fun `while nobody is signed in nothing is shown`() {
        assertTrue("it is tocsin's", owner.tocsin.onMessage(page(), 1, 1))
        assertEquals(0, owner.notifications.activeNotifications.size)
    }

    @Test
    fun `a tap on the locked phone is at the server within a second`() {
        owner.enrol()
        val took = ArrayList<Long>()
        repeat(10) {
            val page = owner.page()
            owner.restart()
            val before = System.nanoTime()
            owner.tap(page.getValue("tag"))
            took += (System.nanoTime() - before) / 1_000_000
            assertEquals("Acknowledged by you", owner.text(page.getValue("tag")))
            assertEquals("STATE_ACKNOWLEDGED", incident(page)["state"].asString)
        }
        took.sort()
        println("tap on the card to answer, ms: median ${took[took.size / 2]}, most ${took.last()}, of ${took.size}")
        assertTrue("$took", took.last() <= 1_000)
        assertNull("nothing waits", owner.planned())
    }

    private fun incident(page: Map<String, String>): JsonObject = Sandbox.call("/v1/incidents/${page["i"]}")

    private fun deliveries(page: Map<String, String>): String = Sandbox.call("/v1/incidents/${page["i"]}/deliveries").toString()

    @Test
    fun `offline nothing is acknowledged, and the card says so with a sound`() {
        val page = tappedOffLine()
        val tag = page.getValue("tag")
        assertEquals("Acknowledging…", owner.text(tag))
        assertEquals("without a sound", "info", owner.card(tag)!!.channelId)
        val job = owner.planned()!!
        assertTrue("kept over a restart", job.isPersisted)
        assertEquals(JobInfo.NETWORK_TYPE_ANY, job.networkType)
        owner.clocks.passed += 15_500
        owner.alarm()
        assertEquals("NOT acknowledged. Tap to try again.", owner.text(tag))
        assertEquals("page_normal", owner.card(tag)!!.channelId)
        assertEquals("STATE_TRIGGERED", incident(page)["state"].asString)
        // The process ends, and the system starts it again when there is a network.
        owner.restart()
        Sandbox.line("up")
        assertTrue("the job says that it is done", owner.job())
        assertEquals("Acknowledged by you", owner.text(tag))
        assertEquals("STATE_ACKNOWLEDGED", incident(page)["state"].asString)
        assertNull(owner.planned())
    }

    @Test
    fun `a double tap is one, and a tap on the card that says no is another try`() {
        owner.enrol()
        val page = owner.page()
        val tag = page.getValue("tag")
        val button = shadowOf(owner.card(tag)!!.actions.single().actionIntent).savedIntent
        Sandbox.line("down")
        owner.receive(TapReceiver(), button)
        owner.receive(TapReceiver(), button)
        assertEquals(1, owner.tocsin.phone.taps().size)
        owner.clocks.passed += 15_500
        owner.alarm()
        Sandbox.line("up")
        owner.tap(tag)
        assertEquals(1, owner.tocsin.phone.taps().size)
        assertEquals("Acknowledged by you", owner.text(tag))
    }

    @Test
    fun `a full disk is said`() {
        owner.enrol()
        val page = owner.page()
        val tag = page.getValue("tag")
        Sandbox.line("down")
        // Nothing can be written where taps are kept: as on a disk that is full.
        val blocked = File(owner.context.noBackupFilesDir, "tocsin/taps.next").apply { mkdir() }
        File(blocked, "x").createNewFile()
        owner.tap(tag)
        assertTrue(owner.text(tag), "storage is full" in owner.text(tag))
        Sandbox.line("up")
        owner.tocsin.hurry()
        runBlocking { owner.tocsin.deliver(0) }
        assertEquals("Acknowledged by you", owner.text(tag))
    }

    @Test
    fun `who was slower learns who holds it`() {
        owner.enrol("ben")
        val page = owner.page("payments")
        val tag = page.getValue("tag")
        Sandbox.acknowledge(page.getValue("i"))
        owner.tap(tag)
        assertTrue(owner.text(tag), owner.text(tag).startsWith("Acknowledged by "))
    }

    @Test
    fun `before the first unlock the page rings, is reported, and the tap waits`() {
        owner.enrol()
        owner.lock(true)
        owner.restart()
        val page = owner.page()
        val tag = page.getValue("tag")
        assertEquals("page_normal", owner.card(tag)!!.channelId)
        assertTrue("by the key of the page", "STATE_DISPLAYED" in deliveries(page))
        owner.tap(tag)
        assertTrue(owner.text(tag), "Unlock the phone" in owner.text(tag))
        assertEquals("STATE_TRIGGERED", incident(page)["state"].asString)
        owner.lock(false)
        owner.receive(PhoneReceiver(), Intent(Intent.ACTION_BOOT_COMPLETED))
        assertEquals("Acknowledged by you", owner.text(tag))
    }

    @Test
    fun `what the owner changes is told to the server`() {
        owner.enrol()
        assertEquals(Device.Permission.PERMISSION_GRANTED, device().permission)
        assertEquals("3.1", device().appVersion)
        shadowOf(owner.notifications).setNotificationsEnabled(false)
        owner.receive(PhoneReceiver(), Intent(NotificationManager.ACTION_APP_BLOCK_STATE_CHANGED))
        assertEquals(Device.Permission.PERMISSION_DENIED, device().permission)
    }

    @Test
    fun `a page that the settings hide is reported with the reason`() {
        owner.enrol()
        shadowOf(owner.notifications).setNotificationsEnabled(false) // and nobody told the app
        val page = owner.page()
        assertNull("it is not on the screen", owner.card(page.getValue("tag")))
        assertTrue("the server knows why: " + deliveries(page), "permission" in deliveries(page))
    }

    @Test
    fun `settings that change offline are told when there is a network`() {
        owner.enrol()
        Sandbox.line("down")
        shadowOf(owner.notifications).setNotificationsEnabled(false)
        owner.receive(PhoneReceiver(), Intent(Intent.ACTION_MY_PACKAGE_REPLACED))
        assertNotNull(owner.planned())
        owner.restart()
        Sandbox.line("up")
        owner.job()
        assertEquals(Device.Permission.PERMISSION_DENIED, device().permission)
    }

    private fun device() = runBlocking { owner.tocsin.phone.device() }

    @Test
    fun `a phone that was taken out forgets everything, and says so`() {
        owner.enrol()
        val page = owner.page()
        Sandbox.revoke(owner.tocsin.phone.person()!!.device)
        owner.tocsin.onMessage(owner.handset.next("heartbeat"), 2, 2)
        assertNull(owner.tocsin.phone.person())
        assertNull("no card of an incident is left", owner.card(page.getValue("tag")))
        assertEquals("This phone was signed out. No page reaches it.", owner.notifications.activeNotifications.single().notification.extras.getCharSequence(Notification.EXTRA_TITLE).toString())
    }

    @Test
    fun `what is secret is not on the disk in the clear`() {
        owner.enrol()
        val kept = File(owner.context.noBackupFilesDir, "tocsin").listFiles()!!
        assertTrue(kept.any { it.name == "identity" })
        assertFalse(kept.any { "tcd_" in it.readText(Charsets.ISO_8859_1) })
        owner.restart()
        assertEquals("Ann Archer", owner.tocsin.phone.person()!!.displayName)
    }

    @Test
    fun `the app's own buttons are as durable as those of a card`() {
        owner.enrol()
        val page = owner.page()
        val tag = page.getValue("tag")
        val told = ArrayList<String>()
        owner.tocsin.onTap = { told += it.state.javaClass.simpleName }
        val tap = owner.tocsin.act(Card(page.getValue("d"), tag, 0, ""), page.getValue("i"), Verb.VERB_RESOLVE)
        owner.settle()
        assertTrue(tap.kept)
        assertEquals("Resolved", owner.text(tag))
        assertEquals("STATE_RESOLVED", incident(page)["state"].asString)
        assertEquals(listOf("Acting", "Done"), told.distinct())
    }

    @Test
    fun `a card that was opened is reported`() {
        owner.enrol()
        val page = owner.page()
        // The locked phone opens the app by itself: nobody has seen it yet, and whoever sleeps is called in time.
        val byItself = shadowOf(owner.card(page.getValue("tag"))!!.fullScreenIntent).savedIntent
        assertEquals(page["i"], byItself.getStringExtra("incident"))
        owner.tocsin.onOpened(byItself)
        owner.settle()
        assertFalse("STATE_OPENED" in deliveries(page))
        val open = shadowOf(owner.card(page.getValue("tag"))!!.contentIntent).savedIntent
        assertEquals(page["i"], open.getStringExtra("incident"))
        owner.tocsin.onOpened(open)
        owner.settle()
        assertTrue("STATE_OPENED" in deliveries(page))
    }

    @Test
    fun `a phone that may not take the screen says all the same that a card was opened`() {
        owner.enrol()
        FullScreen.allowed = false
        val page = owner.page()
        owner.tocsin.onOpened(shadowOf(owner.card(page.getValue("tag"))!!.contentIntent).savedIntent)
        owner.settle()
        assertTrue("STATE_OPENED" in deliveries(page))
    }

    @Test
    fun `the answer to a tap covers no page that came since`() {
        val page = tappedOffLine()
        val tag = page.getValue("tag")
        assertEquals("Acknowledging…", owner.text(tag))
        val again = page + mapOf("d" to UUID.randomUUID().toString(), "r" to (page.getValue("r").toLong() + 3).toString())
        owner.tocsin.onMessage(again, 1, 1)
        Sandbox.line("up")
        owner.job()
        assertTrue("it was told", owner.tocsin.phone.taps().single().state is TapState.Done)
        assertEquals("it rings on", "page_normal", owner.card(tag)!!.channelId)
        assertEquals("and has its button", 1, owner.card(tag)!!.actions.size)
    }

    @Test
    fun `a tap does not wait until the server has heard of a setting`() {
        owner.enrol()
        val page = owner.page()
        val done = CountDownLatch(1)
        owner.tocsin.onTap = { if (it.state is TapState.Done) done.countDown() }
        Sandbox.line("silent", path = "/tocsin.v1.DeviceService/RegisterDevice")
        owner.tocsin.refresh()
        TapReceiver().onReceive(owner.context, shadowOf(owner.card(page.getValue("tag"))!!.actions.single().actionIntent).savedIntent)
        assertTrue("within 4 s, of which the registration has 9", done.await(4, TimeUnit.SECONDS))
        Sandbox.line("up")
        owner.settle()
    }

    @Test
    fun `the card of a test has a button that says that it was heard`() {
        owner.enrol()
        val sent = runBlocking { owner.tocsin.phone.sendTest() }
        val test = owner.handset.next("test").also { owner.tocsin.onMessage(it, 1, 1) }
        val tag = test.getValue("tag")
        assertEquals("I heard it", owner.card(tag)!!.actions.single().title.toString())
        owner.tap(tag)
        assertEquals("Heard: pages reach this phone", owner.text(tag))
        val verdict = runBlocking { owner.tocsin.phone.watchTest(sent.name).first { it.verdict != TestPush.Verdict.VERDICT_UNSPECIFIED }.verdict }
        assertEquals(TestPush.Verdict.VERDICT_PASSED, verdict)
    }

    @Test
    fun `who comes next learns nothing of what the one before was paged for`() {
        val page = tappedOffLine()
        assertFalse("nobody was told", runBlocking { owner.tocsin.signOut() })
        runBlocking { owner.tocsin.deliver(0) }
        val texts = owner.notifications.activeNotifications.flatMap { n -> n.notification.extras.keySet().map { n.notification.extras.get(it).toString() } }
        assertFalse("$texts", texts.any { page.getValue("title") in it })
    }

    @Test
    fun `what the lock screen says of a tap names no incident`() {
        val page = tappedOffLine()
        val tag = page.getValue("tag")
        owner.clocks.passed += 15_500
        owner.alarm()
        val public = owner.card(tag)!!.publicVersion
        assertEquals("NOT acknowledged. Tap to try again.", public.extras.getCharSequence(Notification.EXTRA_TITLE).toString())
        assertEquals(1, public.actions.size)
        assertFalse(public.extras.keySet().any { page.getValue("title") in public.extras.get(it).toString() })
    }

    /** A page whose button was tapped while the server is out of reach. */
    private fun tappedOffLine(): Map<String, String> {
        owner.enrol()
        val page = owner.page()
        Sandbox.line("down")
        owner.tap(page.getValue("tag"))
        return page
    }
}
