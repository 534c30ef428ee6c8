<?php
namespace Clew\Orders\Observer;

use Magento\Framework\App\Request\Http;
use Magento\Framework\Event\Observer;
use Magento\Framework\Event\ObserverInterface;

/** Keeps clew's token with the order, as the customer's request brings it. */
class Keep implements ObserverInterface
{
    public function __construct(private Http $request)
    {
    }

    public function execute(Observer $observer)
    {
        $token = (string) $this->request->getServer('HTTP_X_CLEW_REFERRAL');
        if (preg_match('/^[A-Za-z0-9_-]{1,200}$/', $token)) {
            $observer->getEvent()->getOrder()->setData('clew_token', $token);
        }
    }
}
