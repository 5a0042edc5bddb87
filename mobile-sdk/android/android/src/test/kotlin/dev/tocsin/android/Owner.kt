// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin.android

import android.app.Application
import android.app.Notification
import android.app.NotificationManager
import android.app.job.JobInfo
import android.app.job.JobParameters
import android.app.job.JobScheduler
import android.content.Context
import android.content.ContextWrapper
import android.content.Intent
import android.content.pm.PackageInfo
import android.os.Parcel
import android.os.UserManager
import dev.tocsin.Clock
import dev.tocsin.EnrolmentLink
import dev.tocsin.sandbox.Sandbox
import java.util.UUID
import kotlinx.coroutines.runBlocking
import org.junit.rules.ExternalResource
import org.robolectric.Robolectric
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Implementation
import org.robolectric.annotation.Implements
import org.robolectric.shadows.ShadowNotificationManager

/** One phone with the app on it, and what its owner sees. Robolectric makes the phone anew for each test. */
internal class Owner : ExternalResource() {
    /** The clocks of the machine; Robolectric's stand still. */
    class Clocks : Clock {
        var passed = 0L

        override fun wall() = Clock.System.wall() + passed

        override fun elapsed() = Clock.System.elapsed() + passed

        override val boot: String = Clock.System.boot
    }

    private class App(base: Context) : ContextWrapper(base) {
        override fun getPackageName() = "com.example.oncall"

        override fun getApplicationContext() = this

        override fun createDeviceProtectedStorageContext(): Context = this
    }

    lateinit var context: Context
    lateinit var tocsin: Tocsin
    val clocks = Clocks()
    val handset by lazy { Sandbox.handset("android ${UUID.randomUUID()}") }
    val notifications: NotificationManager get() = context.service()
    val jobs: JobScheduler get() = context.service()
    var look = look(1)

    fun look(sounds: Int) = Look("Test/1.0", 17, { c, incident -> Intent("open").setPackage(c.packageName).putExtra("incident", incident) }, soundVersion = sounds)

    override fun before() {
        FakeKeyStore.install()
        val application: Application = RuntimeEnvironment.getApplication()
        shadowOf(application.packageManager).installPackage(PackageInfo().apply { packageName = "com.example.oncall"; versionName = "3.1" })
        FullScreen.allowed = true
        context = App(application)
        tocsin = Tocsin.start(context, look, clocks)
    }

    override fun after() {
        if (signedIn) {
            Sandbox.line("up")
            runBlocking { tocsin.signOut() }
        }
        Tocsin.stop()
    }

    private var signedIn = false

    /** The app is killed, and started again. */
    fun restart() {
        Tocsin.stop()
        tocsin = Tocsin.start(context, look, clocks)
    }

    fun enrol(person: String = "ann") {
        signedIn = true
        tocsin.onNewToken(handset.token)
        runBlocking { tocsin.enrol(EnrolmentLink.parse(Sandbox.link(person))) }
        settle()
    }

    /** A monitor finds something, and the page of it is on this phone. */
    fun page(service: String = "search"): Map<String, String> {
        Sandbox.alert(service, UUID.randomUUID().toString())
        return handset.next("page").also { tocsin.onMessage(it, 1, 1) }
    }

    /** The card of that tag on the screen, or null. */
    fun card(tag: String): Notification? = notifications.activeNotifications.firstOrNull { it.tag == tag }?.notification

    fun text(tag: String): String = card(tag)?.extras?.getCharSequence(Notification.EXTRA_TEXT).toString()

    /** The owner taps the card's button; it returns when the receiver is done. */
    fun tap(tag: String) {
        val intent = shadowOf(checkNotNull(card(tag)) { "no card $tag" }.actions.single().actionIntent).savedIntent
        receive(TapReceiver(), intent)
    }

    /** The time has come to look whether the tap was confirmed. */
    fun alarm() = receive(TapReceiver(), Intent(TapReceiver.CONFIRM))

    fun receive(receiver: android.content.BroadcastReceiver, intent: Intent) {
        receiver.onReceive(context, intent)
        settle()
    }

    /** The system runs the job that waits for a network; true when it has said that it is done. */
    fun job(): Boolean {
        checkNotNull(planned()) { "no job waits" }
        val job = Robolectric.buildService(DeliveryJob::class.java).create().get()
        check(job.onStartJob(parameters())) { "it goes on in the background" }
        settle()
        return shadowOf(job).isJobFinished && !shadowOf(job).isRescheduleNeeded
    }

    // Only the system makes them.
    private fun parameters(): JobParameters {
        val make = JobParameters::class.java.declaredConstructors.filter { Parcel::class.java !in it.parameterTypes }.maxByOrNull { it.parameterCount }!!
        make.isAccessible = true
        val given = make.parameterTypes.map {
            when (it) {
                Int::class.javaPrimitiveType -> Retry.JOB
                Boolean::class.javaPrimitiveType -> false
                else -> null
            }
        }
        return make.newInstance(*given.toTypedArray()) as JobParameters
    }

    fun planned(): JobInfo? = jobs.allPendingJobs.firstOrNull { it.id == Retry.JOB }

    fun settle() = runBlocking { tocsin.settled() }

    fun lock(locked: Boolean) = shadowOf(context.service<UserManager>()).setUserUnlocked(!locked)
}

/** Whether a card may take the screen: Robolectric has no setting for it. */
@Implements(NotificationManager::class)
internal class FullScreen : ShadowNotificationManager() {
    @Implementation
    fun canUseFullScreenIntent() = allowed

    companion object {
        var allowed = true
    }
}
